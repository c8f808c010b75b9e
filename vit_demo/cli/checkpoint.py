"""Options and loading that several commands share, with progress bars for downloads."""

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
    typer.Option("--allow-pickle", help="Also load pytorch_model.bin (only tensors are read)."),
]
PreprocessingOption = Annotated[
    str | None,
    typer.Option(
        metavar="PRESET|FILE",
        help=f"The preprocessing: {', '.join(PRESETS)}, or a preprocessor_config.json.",
    ),
]
ClassesOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Class names: JSON, or one per line.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def load_with_progress(
    ref: str,
    allow_pickle: bool = False,
    preprocessing: str | None = None,
    classes: Path | None = None,
) -> Checkpoint:
    """Load a checkpoint; on a terminal, downloads from the Hub show a progress bar.

    Everything that had to be guessed is printed on stderr.
    """
    with downloads_with_progress() as report:
        loaded = load(
            ref,
            report,
            allow_pickle=allow_pickle,
            preprocessing=preprocessing,
            classes=classes,
        )
    _print_notes(captions.reading_notes(loaded))
    return loaded


def read_with_progress(ref: str, allow_pickle: bool = False) -> ParsedCheckpoint:
    """Read a checkpoint as a start for training, with a progress bar."""
    with downloads_with_progress() as report:
        parsed, _ = read(ref, report, allow_pickle=allow_pickle)
    _print_notes(parsed.notes)
    return parsed


def _print_notes(notes: Iterable[str]) -> None:
    console = Console(stderr=True)
    for note in notes:
        console.print(Text(note), soft_wrap=True)


@contextmanager
def downloads_with_progress() -> Iterator[Report | None]:
    """A progress bar for every downloaded file on a terminal; None if there is no terminal."""
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
