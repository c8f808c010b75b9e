"""The checkpoints that come with the app, and those that the picker offers beside them."""

import json
from dataclasses import dataclass

from vit_demo.settings import ASSETS

CATALOGUE = ASSETS / "catalogue.json"
BUNDLED_FOLDER = ASSETS / "checkpoints"
DEFAULT = "flowers"


def bundled() -> list[str]:
    """The names of the checkpoints that come with the app; they need no network."""
    return sorted(path.parent.name for path in BUNDLED_FOLDER.glob("*/config.json"))


@dataclass(frozen=True)
class Entry:
    """One checkpoint on offer, with only what its own page says; the rest is None: unknown."""

    ref: str
    classes: str | None = None
    licence: str | None = None
    accuracy: str | None = None
    size: str | None = None
    pickled: bool = False

    @property
    def details(self) -> tuple[str, ...]:
        """What its page says, a few words each."""
        known = (self.classes, self.licence, self.accuracy, self.size)
        return tuple(words for words in known if words)


def catalogue() -> tuple[Entry, ...]:
    """All entries, in the order in which they are offered."""
    return tuple(Entry(**entry) for entry in json.loads(CATALOGUE.read_text(encoding="utf-8")))
