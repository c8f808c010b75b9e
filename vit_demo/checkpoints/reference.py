"""What a person may write to name a checkpoint: a bundled name, a path, or a Hub id."""

import re
from dataclasses import dataclass
from pathlib import Path

from vit_demo.errors import NotFoundError, nearest
from vit_demo.settings import ASSETS

BUNDLED_FOLDER = ASSETS / "checkpoints"
DEFAULT = "flowers"

HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)


@dataclass(frozen=True)
class Local:
    """A checkpoint that lies on this machine."""

    path: Path


@dataclass(frozen=True)
class Remote:
    """A repository on the Hub, at a branch, tag or commit, or at its main branch."""

    repo: str
    revision: str | None


def bundled() -> list[str]:
    """Names of the checkpoints that come with the app."""
    return sorted(path.parent.name for path in BUNDLED_FOLDER.glob("*/config.json"))


def parse(ref: str) -> Local | Remote:
    """Tell which kind of reference this is: a bundled name first, then a path, then a Hub id.

    Raises NotFoundError when it can be none of them.
    """
    names = bundled()
    if ref in names:
        return Local(BUNDLED_FOLDER / ref)
    if ref and Path(ref).exists():
        return Local(Path(ref))
    if match := HUB_ID.fullmatch(ref):
        return Remote(match["repo"], match["revision"])
    raise NotFoundError(
        f"'{ref}' is no bundled checkpoint, no existing folder and no Hub id; {nearest(ref, names)}"
        " A Hub id looks like owner/name or owner/name@revision."
    )
