"""Progress bars and messages for long work, and a clean stop on Ctrl-C."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from vit_demo.checkpoints.files import SUMMARY
from vit_demo.data.dataset_checks import Checked
from vit_demo.training.distributed import DistributedContext
from vit_demo.training.run import Watcher
from vit_demo.training.trainer import Step

# At most this many problems are listed.
MOST_LISTED = 5

# Without a terminal, progress is printed as this many lines instead of a bar.
LINES = 10

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Shown(Watcher):
    """The watcher of one run, with its progress bar."""

    bars: Progress
    bar: TaskID
    name: str
    stopped: Event

    def step(self, step: Step) -> None:
        words = f"{self.name} epoch {step.epoch} ({step.stage})  loss {step.loss:.3f}".strip()
        self.bars.update(self.bar, total=step.steps, completed=step.step, description=words)
        if not self.bars.console.is_terminal:
            _print_tenths(self.bars.console, f"{words}, steps", step.step, step.steps)
        if step.score:
            self.say(f"{words}: held-out accuracy {step.score.accuracy:.4f}")

    def checked(self, checked: Checked) -> None:
        self._list([f"skipped: {path}: {why}" for path, why in checked.unreadable])
        split = checked.split
        if split.empty:
            self.say(f"no photos in: {', '.join(split.empty)}")
        counts = split.counts((*split.training, *split.held_out))
        classes = ", ".join(f"{label} {count}" for label, count in counts.items())
        training, held_out = len(split.training), len(split.held_out)
        self.say(f"{training} photos for training, {held_out} held out: {classes}")
        self._list([f"on both sides of the split: {a} and {b}" for a, b in checked.duplicates])

    def stop(self) -> bool:
        return self.stopped.is_set()

    def say(self, words: str) -> None:
        """Print a line above the bars."""
        self.bars.console.print(Text(words), soft_wrap=True)

    def _list(self, lines: list[str]) -> None:
        for line in lines[:MOST_LISTED]:
            self.say(line)
        if len(lines) > MOST_LISTED:
            self.say(f"… and {len(lines) - MOST_LISTED} more, in {SUMMARY}")


@contextmanager
def training_with_progress(world: DistributedContext) -> Iterator[Callable[[str], Shown]]:
    """A function that makes the watcher of a run by name; only the main process prints."""
    console = Console(stderr=True, quiet=not world.is_main)
    bars = Progress(*_columns(), console=console, disable=not console.is_terminal)
    with _interruptible() as stopped, bars:
        yield lambda name: Shown(bars, bars.add_task("reading photos", total=None), name, stopped)


@contextmanager
def photos_with_progress(console: Console, words: str) -> Iterator[Report]:
    """A function (done, total) that updates a progress bar, which disappears at the end.

    Without a terminal it prints a line after every tenth.
    """
    if not console.is_terminal:
        yield lambda done, of: _print_tenths(console, words, done, of)
        return
    with Progress(*_columns(), console=console, transient=True) as progress:
        bar = progress.add_task(words, total=None)
        yield lambda done, of: progress.update(bar, completed=done, total=of)


def _print_tenths(console: Console, words: str, done: int, of: int) -> None:
    if of >= LINES and done * LINES // of > (done - 1) * LINES // of:
        console.print(Text(f"{words}: {done} of {of}"), soft_wrap=True)


def _columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )


@contextmanager
def _interruptible() -> Iterator[Event]:
    """The first Ctrl-C requests a stop after the current step; a second one stops at once."""
    stopped = Event()

    def request_stop(*_: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, request_stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
