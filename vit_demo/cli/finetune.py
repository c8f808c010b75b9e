"""`finetune`: training in sight, stopped and gone on with at will."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from vit_demo.cli.checkpoint import read_in_sight
from vit_demo.errors import DataError, OptionError
from vit_demo.training.data import Checked
from vit_demo.training.finetune import Step
from vit_demo.training.plan import SCRATCH, Plan
from vit_demo.training.recipe import Recipe
from vit_demo.training.run import Watcher, train
from vit_demo.training.saved import RunFolder
from vit_demo.training.world import joined

MOST_TOLD = 5


def finetune_command(
    out: Annotated[Path, typer.Option(help="Folder for the new checkpoint.")],
    data: Annotated[
        Path | None,
        typer.Option(help="A folder with one sub-folder of photos per class, or train and val."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="REF|none", help="Checkpoint to start from, or none.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    head_epochs: Annotated[
        int, typer.Option(min=0, help="Epochs in which the head alone learns.")
    ] = Recipe.head_epochs,
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs after that, in which all learns.")
    ] = Recipe.epochs,
    image_size: Annotated[int, typer.Option(min=1, help="In pixels.")] = Plan.image_size,
    patch_size: Annotated[int, typer.Option(min=1, help="In pixels.")] = Plan.patch_size,
    size: Annotated[str, typer.Option(help="Shape of a model that starts from none.")] = Plan.size,
    held_out: Annotated[
        float, typer.Option(help="Share of the photos kept for scoring.")
    ] = Plan.held_out,
    learning_rate: Annotated[float, typer.Option(min=0)] = Recipe.learning_rate,
    batch_size: Annotated[int, typer.Option(min=1)] = Recipe.batch_size,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=NUMBER", help="Another number of the recipe."),
    ] = None,
    seed: int = 0,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between saved states.")] = 50,
) -> None:
    """Fine-tune on your own flowers: first the head, then all of the model.

    Ctrl-C saves and says how to go on. Several processes share the work under torchrun.
    """
    if resume:
        plan = _plan_to_go_on_with(out, data, weights)
    elif data is None or weights is None:
        raise OptionError("--data and --weights are missing; or go on with a run by --resume.")
    else:
        recipe = Recipe(
            head_epochs=head_epochs if weights != SCRATCH else 0,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            seed=seed,
        ).changed(_pairs(changes or []))
        plan = Plan(
            data=str(data),
            weights=weights,
            recipe=recipe,
            size=size,
            image_size=image_size,
            patch_size=patch_size,
            held_out=held_out,
            command=shlex.join(["python", "-m", "vit_demo", *sys.argv[1:]]),
        )
    _train_in_sight(plan, out, resume, save_every)


def _train_in_sight(plan: Plan, out: Path, resume: bool, save_every: int) -> None:
    start = None if plan.weights == SCRATCH else read_in_sight(plan.weights)
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with joined() as world, _interruptible() as stopped:
        bar = Progress(*columns, console=console, disable=not world.leads)
        task = bar.add_task("reading photos", total=None)

        def show(step: Step) -> None:
            words = f"epoch {step.epoch} ({step.stage})  loss {step.loss:.3f}"
            bar.update(task, total=step.steps, completed=step.step, description=words)
            if step.score:
                bar.console.print(f"{words}: {step.score.accuracy:.4f} of the held-out photos")

        watcher = Watcher(
            show, lambda checked: _report_photos(bar.console, checked), stopped.is_set
        )
        with bar:
            last = train(
                plan, start, out, watcher, resume=resume, save_every=save_every, world=world
            )
        if world.leads and last.score:
            console.print(f"{last.score.accuracy:.4f} of the held-out photos; saved to {out}")


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


def _plan_to_go_on_with(out: Path, data: Path | None, weights: str | None) -> Plan:
    plan = Plan.from_json(RunFolder(out).plan())
    for name, given, planned in (("--data", data, plan.data), ("--weights", weights, plan.weights)):
        if given is not None and str(given) != planned:
            raise DataError(f"The run in '{out}' was begun with {name} {planned}, not {given}.")
    return plan


def _report_photos(console: Console, checked: Checked) -> None:
    split = checked.split
    counts = split.counts((*split.training, *split.held_out))
    classes = ", ".join(f"{label} {count}" for label, count in counts.items())
    console.print(
        Text(
            f"{len(split.training)} photos to learn from, {len(split.held_out)} held out: {classes}"
        )
    )
    for path, why in checked.unreadable[:MOST_TOLD]:
        console.print(Text(f"left out: {path}: {why}"))
    if len(checked.unreadable) > MOST_TOLD:
        console.print(f"… and {len(checked.unreadable) - MOST_TOLD} more that cannot be read")
    for held_out, training in checked.duplicates[:MOST_TOLD]:
        console.print(Text(f"on both sides of the split: {held_out} and {training}"))
    if len(checked.duplicates) > MOST_TOLD:
        console.print(f"… and {len(checked.duplicates) - MOST_TOLD} more on both sides")


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise OptionError(f"'{text}' lacks its value; write it like mixup=0.2.")
        pairs[name] = value
    return pairs
