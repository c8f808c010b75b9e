"""What a person may write to name a checkpoint: a bundled name, a path, or a Hub id."""

from pathlib import Path

from vit_demo.checkpoints.hub import HubReference
from vit_demo.checkpoints.hub.reference import is_repo
from vit_demo.errors import NotFoundError, nearest
from vit_demo.settings import ASSETS

BUNDLED_FOLDER = ASSETS / "checkpoints"
DEFAULT = "flowers"


def bundled() -> list[str]:
    """Names of the checkpoints that come with the app."""
    return sorted(path.parent.name for path in BUNDLED_FOLDER.glob("*/config.json"))


def parse(ref: str) -> Path | HubReference:
    """A bundled name first, then a path that exists, then a Hub id `owner/name[@revision]`.

    Raises NotFoundError when it is none of them, CheckpointError for a revision that cannot be.
    """
    names = bundled()
    if ref in names:
        return BUNDLED_FOLDER / ref
    if ref and Path(ref).exists():
        return Path(ref)
    if is_repo(ref.partition("@")[0]):
        return HubReference.parse(ref)
    raise NotFoundError(
        f"'{ref}' is no bundled checkpoint, no existing folder and no Hub id; {nearest(ref, names)}"
        " A Hub id looks like owner/name or owner/name@revision."
    )
