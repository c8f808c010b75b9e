"""Which checkpoints the visitors of one page may use, and their descriptions in the picker.

Every checkpoint of the page is loaded through here, so the rules also apply to handcrafted
requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vit_demo.checkpoints import (
    DEFAULT,
    Checkpoint,
    CheckpointSummary,
    bundled,
    load,
    summarize,
    works_offline,
)
from vit_demo.checkpoints.cache import Progress
from vit_demo.checkpoints.catalogue import Entry, catalogue
from vit_demo.errors import AccessError
from vit_demo.ui.explorer.words import DEFAULT_LANGUAGE
from vit_demo.ui.languages import say, translation


@dataclass(frozen=True)
class CheckpointPolicy:
    """The host's settings for one page.

    `default` is the host's own choice and may be anything. Without `any_checkpoint`, the page
    offers only the default and the catalogue. Local folders and the whole cache are available only
    with `own_machine`, where the visitor is the host. `preprocessing` and `classes` are the host's
    settings for the default checkpoint; see `read`.
    """

    default: str = DEFAULT
    any_checkpoint: bool = True
    own_machine: bool = True
    allow_pickle: bool = False
    preprocessing: str | None = None
    classes: Path | None = None

    def load(self, ref: str, progress: Progress | None) -> Checkpoint:
        """Load an offered checkpoint; raises AccessError for others, and the errors of `load`."""
        self._check_admitted(ref)
        own = ref == self.default
        return load(
            ref,
            progress,
            allow_pickle=self.allow_pickle,
            paths=self._paths(ref),
            preprocessing=self.preprocessing if own else None,
            classes=self.classes if own else None,
        )

    def summary(self, ref: str) -> CheckpointSummary | None:
        """What is known of a checkpoint without a download; raises the errors of `load`."""
        self._check_admitted(ref)
        return summarize(ref, self._paths(ref), self.allow_pickle)

    def offline(self) -> list[str]:
        """References that may be listed for a visitor without a network."""
        return works_offline(self.allow_pickle) if self.own_machine else bundled()

    def needs_pickle(self, ref: str) -> bool:
        """Whether a checkpoint has only pickled weights, which this page does not open."""
        pickled = {entry.ref for entry in catalogue() if entry.pickled}
        return ref in pickled and not self.allow_pickle

    def choices(
        self, recent: Sequence[str] = (), language: str = DEFAULT_LANGUAGE
    ) -> list[tuple[str, str]]:
        """Titles and references: the default, recent ones, the catalogue, the cache."""
        offline = works_offline(self.allow_pickle)
        known = {entry.ref: entry for entry in catalogue()}
        recent = [ref for ref in recent if self.admits(ref) and ref != self.default]
        listed = [self.default, *recent, *known, *(offline if self._lists_cache else ())]
        return [
            (self._title(ref, known.get(ref), ref in offline, ref in recent, language), ref)
            for ref in dict.fromkeys(listed)
        ]

    @property
    def _lists_cache(self) -> bool:
        """Whether the whole cache is listed; on a shared page it stays private."""
        return self.any_checkpoint and self.own_machine

    def _title(
        self, ref: str, entry: Entry | None, offline: bool, recent: bool, language: str
    ) -> str:
        details = entry.details if entry else ()
        marks = [translation(detail, language) or detail for detail in details]
        if offline:
            marks.append(say(language, "page.mark.offline"))
        if entry and entry.pickled:
            mark = "page.mark.pickled" if self.allow_pickle else "page.mark.pickle_needed"
            marks.append(say(language, mark))
        if recent:
            marks.append(say(language, "page.mark.recent"))
        return f"{ref} — {' · '.join(marks)}" if marks else ref

    def _paths(self, ref: str) -> bool:
        return self.own_machine or ref == self.default

    def admits(self, ref: str) -> bool:
        """Whether this page offers a checkpoint."""
        return self.offered is None or ref in self.offered

    @property
    def offered(self) -> tuple[str, ...] | None:
        """All offered checkpoints; None if any can be used."""
        if self.any_checkpoint:
            return None
        return (self.default, *(entry.ref for entry in catalogue()))

    def _check_admitted(self, ref: str) -> None:
        if not self.admits(ref):
            raise AccessError(f"'{ref}' is not on offer on this page; choose one from the list.")
