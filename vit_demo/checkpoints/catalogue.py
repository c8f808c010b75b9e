"""The checkpoints that ship with the app, and those that the picker also offers."""

import json
from dataclasses import dataclass

from vit_demo.settings import ASSETS

CATALOGUE = ASSETS / "catalogue.json"
BUNDLED_FOLDER = ASSETS / "checkpoints"
DEFAULT = "flowers"


def bundled() -> list[str]:
    """Names of the checkpoints that ship with the app; they need no network."""
    return sorted(path.parent.name for path in BUNDLED_FOLDER.glob("*/config.json"))


@dataclass(frozen=True)
class Entry:
    """One offered checkpoint, with what its own page states; None means unknown."""

    ref: str
    classes: str | None = None
    licence: str | None = None
    accuracy: str | None = None
    size: str | None = None
    pickled: bool = False

    @property
    def details(self) -> tuple[str, ...]:
        """Short descriptions from the page of the checkpoint."""
        known = (self.classes, self.licence, self.accuracy, self.size)
        return tuple(words for words in known if words)


def catalogue() -> tuple[Entry, ...]:
    """All entries, in display order."""
    return tuple(Entry(**entry) for entry in json.loads(CATALOGUE.read_text(encoding="utf-8")))
