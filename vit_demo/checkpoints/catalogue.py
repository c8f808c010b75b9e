"""The checkpoints that the picker offers, read from assets/catalogue.json."""

import json
from dataclasses import dataclass

from vit_demo.settings import ASSETS

CATALOGUE = ASSETS / "catalogue.json"


@dataclass(frozen=True)
class Entry:
    """One checkpoint on offer, with only what its own page says; the rest is None: unknown."""

    ref: str
    classes: str
    licence: str | None = None
    accuracy: str | None = None
    note: str | None = None

    @property
    def title(self) -> str:
        """One line for the picker."""
        parts = [self.classes, self.licence or "licence unknown", self.accuracy, self.note]
        return f"{self.ref} — " + " · ".join(part for part in parts if part)


def catalogue() -> tuple[Entry, ...]:
    """All entries, in the order in which they are offered."""
    return tuple(Entry(**entry) for entry in json.loads(CATALOGUE.read_text(encoding="utf-8")))
