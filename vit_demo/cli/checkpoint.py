"""What several commands share: naming a checkpoint, loading it in sight, the JSON switch."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from vit_demo import captions
from vit_demo.checkpoints import Checkpoint, ParsedCheckpoint, load, read
from vit_demo.checkpoints.cache import Progress as Report
from vit_demo.checkpoints.preprocessing_presets import PRESETS

CheckpointOption = Annotated[
    str, typer.Option(metavar="REF", help="Bundled name, folder, or Hub id owner/name[@revision].")
]
PickleOption = Annotated[
    bool,
    typer.Option("--allow-pickle", help="Read pytorch_model.bin too, and only tensors from it."),
]
PreprocessingOption = Annotated[
    str | None,
    typer.Option(
        metavar="PRESET|FILE",
        help=f"How photos are prepared: {', '.join(PRESETS)}, or a preprocessor_config.json.",
    ),
]
ClassesOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Class names: JSON, or one a line.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def load_with_progress(
    ref: str,
    allow_pickle: bool = False,
    preprocessing: str | None = None,
    classes: Path | None = None,
) -> Checkpoint:
    """Load a checkpoint; on a terminal, what comes from the Hub shows its progress.

    What the reader had to guess or to choose is said on stderr.
    """
    with downloads_with_progress() as report:
        loaded = load(
            ref,
            report,
            allow_pickle=allow_pickle,
            preprocessing=preprocessing,
            classes=classes,
        )
    _say(captions.reading_notes(loaded))
    return loaded


def read_with_progress(ref: str, allow_pickle: bool = False) -> ParsedCheckpoint:
    """Read a checkpoint to start training from, likewise."""
    with downloads_with_progress() as report:
        stored, _ = read(ref, report, allow_pickle=allow_pickle)
    _say(stored.notes)
    return stored


def _say(notes: Iterable[str]) -> None:
    console = Console(stderr=True)
    for note in notes:
        console.print(Text(note), soft_wrap=True)


@contextmanager
def downloads_with_progress() -> Iterator[Report | None]:
    """A bar for every file that is fetched, on a terminal; None elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    bars: dict[str, TaskID] = {}

    def report(name: str, done: int, total: int) -> None:
        if name not in bars:
            progress.start()
            bars[name] = progress.add_task(escape(name))
        progress.update(bars[name], completed=done, total=total)

    try:
        yield report if progress.console.is_terminal else None
    finally:
        if bars:
            progress.stop()
