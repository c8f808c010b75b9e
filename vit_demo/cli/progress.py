"""Long work in sight: a bar, the scores, what was found among the photos, and Ctrl-C."""

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

MOST_TOLD = 5

# Where no bar can be drawn, in a log say, so many lines tell how far it is.
LINES = 10

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Shown(Watcher):
    """The watcher of one run, with its bar."""

    bars: Progress
    bar: TaskID
    name: str
    stopped: Event

    def step(self, step: Step) -> None:
        words = f"{self.name} epoch {step.epoch} ({step.stage})  loss {step.loss:.3f}".strip()
        self.bars.update(self.bar, total=step.steps, completed=step.step, description=words)
        if not self.bars.console.is_terminal:
            _tell_tenths(self.bars.console, f"{words}, steps", step.step, step.steps)
        if step.score:
            self.say(f"{words}: {step.score.accuracy:.4f} of the held-out photos")

    def checked(self, checked: Checked) -> None:
        self._some([f"left out: {path}: {why}" for path, why in checked.unreadable])
        split = checked.split
        if split.empty:
            self.say(f"no photos in: {', '.join(split.empty)}")
        counts = split.counts((*split.training, *split.held_out))
        classes = ", ".join(f"{label} {count}" for label, count in counts.items())
        learn, kept = len(split.training), len(split.held_out)
        self.say(f"{learn} photos to learn from, {kept} held out: {classes}")
        self._some([f"on both sides of the split: {a} and {b}" for a, b in checked.duplicates])

    def stop(self) -> bool:
        return self.stopped.is_set()

    def say(self, words: str) -> None:
        """A line above the bars."""
        self.bars.console.print(Text(words), soft_wrap=True)

    def _some(self, lines: list[str]) -> None:
        for line in lines[:MOST_TOLD]:
            self.say(line)
        if len(lines) > MOST_TOLD:
            self.say(f"… and {len(lines) - MOST_TOLD} more, in {SUMMARY}")


@contextmanager
def training_with_progress(world: DistributedContext) -> Iterator[Callable[[str], Shown]]:
    """Watchers that show the run of a given name; of several processes only the first shows."""
    console = Console(stderr=True, quiet=not world.is_main)
    bars = Progress(*_columns(), console=console, disable=not console.is_terminal)
    with _interruptible() as stopped, bars:
        yield lambda name: Shown(bars, bars.add_task("reading photos", total=None), name, stopped)


@contextmanager
def photos_with_progress(console: Console, words: str) -> Iterator[Report]:
    """A bar on a terminal that goes when it is full, and what moves it: (done, of so many).

    Elsewhere a line is printed after every tenth.
    """
    if not console.is_terminal:
        yield lambda done, of: _tell_tenths(console, words, done, of)
        return
    with Progress(*_columns(), console=console, transient=True) as progress:
        bar = progress.add_task(words, total=None)
        yield lambda done, of: progress.update(bar, completed=done, total=of)


def _tell_tenths(console: Console, words: str, done: int, of: int) -> None:
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
    """Ctrl-C asks for a stop after the step at hand; a second one stops at once."""
    stopped = Event()

    def ask(*_: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
