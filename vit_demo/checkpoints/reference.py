"""Parse a reference to a checkpoint: a bundled name, a path, or a Hub id."""

from pathlib import Path

from vit_demo.checkpoints.catalogue import BUNDLED_FOLDER, bundled
from vit_demo.checkpoints.hub import HubReference
from vit_demo.checkpoints.hub.reference import is_repo
from vit_demo.errors import NotFoundError, nearest


def parse(ref: str, paths: bool = True) -> Path | HubReference:
    """A bundled name first, then a path that exists, then a Hub id `owner/name[@revision]`.

    An address of the Hub, pasted from a browser, is read as what it shows.

    Without `paths` the disk is never looked at: what would be a path is a Hub id or nothing.
    Raises NotFoundError when it is none of them, CheckpointError for a revision that cannot be.
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
    """Whether there is such a path; a text that no disk would take as a name is none."""
    try:
        return Path(ref).exists()
    except OSError:
        return False
