"""Parse a reference to a checkpoint: a bundled name, a path, or a Hub id."""

from pathlib import Path

from vit_demo.checkpoints.catalogue import BUNDLED_FOLDER, bundled
from vit_demo.checkpoints.hub import HubReference
from vit_demo.checkpoints.hub.reference import is_repo
from vit_demo.errors import NotFoundError, nearest


def parse(ref: str, paths: bool = True) -> Path | HubReference:
    """Parse a bundled name, an existing path, or a Hub id `owner/name[@revision]`, in this order.

    A Hub URL pasted from a browser is converted to its id.

    Without `paths`, the disk is not accessed: a path is then parsed as a Hub id or rejected. Raises
    NotFoundError for anything else, CheckpointError for an invalid revision.
    """
    ref, names = ref.strip(), bundled()
    if ref in names:
        return BUNDLED_FOLDER / ref
    if paths and ref and _exists(ref):
        return Path(ref)
    if address := HubReference.from_address(ref):
        return address
    if is_repo(ref.partition("@")[0]):
        return HubReference.parse(ref)
    folder = ", no existing folder" if paths else ""
    raise NotFoundError(
        f"'{ref}' is no bundled checkpoint{folder} and no Hub id; {nearest(ref, names)}"
        " A Hub id looks like owner/name or owner/name@revision."
    )


def _exists(ref: str) -> bool:
    """Whether the path exists; False for a text that is not a valid file name."""
    try:
        return Path(ref).exists()
    except OSError:
        return False
