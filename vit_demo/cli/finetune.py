"""`finetune`: train with progress bars; a run can be stopped and resumed."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from vit_demo.cli.checkpoint import PickleOption, read_with_progress
from vit_demo.cli.progress import photos_with_progress, training_with_progress
from vit_demo.errors import DataError, OptionError, StoppedError
from vit_demo.evaluation.evaluate import Evaluation
from vit_demo.evaluation.metrics import format_interval
from vit_demo.publishing.finalize_run import finalize_run
from vit_demo.publishing.model_card import CARD, check_card
from vit_demo.training.distributed import bfloat16_is_faster_here, joined, launcher
from vit_demo.training.plan import NOT_STATED, SCRATCH, Plan
from vit_demo.training.recipe import EARLIER_NAMES, SCRATCH_LEARNING_RATE, Recipe
from vit_demo.training.run import train
from vit_demo.training.run_folder import RunFolder

# Options allowed with --resume; all others are stored in the plan of the run.
WITH_RESUME = {"--resume", "--out", "--data", "--weights", "--save-every", "--allow-pickle"}


def finetune_command(
    out: Annotated[Path, typer.Option(help="Folder for the new checkpoint.")],
    data: Annotated[
        Path | None,
        typer.Option(help="A folder with one sub-folder of photos per class, or train and val."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="REF|none", help="Checkpoint to start from, or none.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --out.")] = False,
    head_epochs: Annotated[
        int, typer.Option(min=0, help="Epochs in which only the head is trained.")
    ] = Recipe.head_epochs,
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs after that, in which all weights are trained.")
    ] = Recipe.epochs,
    image_size: Annotated[int, typer.Option(min=1, help="In pixels.")] = Plan.image_size,
    patch_size: Annotated[int, typer.Option(min=1, help="In pixels.")] = Plan.patch_size,
    size: Annotated[str, typer.Option(help="Model shape with --weights none.")] = Plan.size,
    val_fraction: Annotated[
        float, typer.Option(help="Fraction of the photos held out for validation.")
    ] = Plan.held_out,
    fold: Annotated[
        int, typer.Option(min=1, help="Number of the fold, e.g. 1 to 5 with a fraction of 0.2.")
    ] = Plan.fold,
    leave_out: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Train without this class.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            help=f"Default: {Recipe.learning_rate}, or {SCRATCH_LEARNING_RATE} from scratch.",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = Recipe.batch_size,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=NUMBER", help="Change a number of the recipe."),
    ] = None,
    licence: Annotated[str, typer.Option(help="The photos' license for the card.")] = NOT_STATED,
    credit: Annotated[str, typer.Option(help="The photos' authors for the card.")] = NOT_STATED,
    allow_pickle: PickleOption = False,
    seed: int = 0,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between saved states.")] = 50,
) -> None:
    """Fine-tune on your own photos: first the head, then the whole model.

    At the end the held-out photos are scored, and a temperature and a model card are written.
    Ctrl-C saves the state and prints how to resume. torchrun distributes the work over processes.
    """
    if resume:
        _refuse_changes(sys.argv[1:])
        plan = _plan_to_resume(out, data, weights)
    elif data is None or weights is None:
        raise OptionError("--data and --weights are missing; give both, or --resume to go on.")
    else:
        default = SCRATCH_LEARNING_RATE if weights == SCRATCH else Recipe.learning_rate
        recipe = Recipe(
            head_epochs=head_epochs if weights != SCRATCH else 0,
            epochs=epochs,
            learning_rate=default if learning_rate is None else learning_rate,
            batch_size=batch_size,
            bfloat16=bfloat16_is_faster_here(),
            seed=seed,
        ).changed(pairs(changes or []))
        plan = Plan(
            data=str(data),
            weights=weights,
            recipe=recipe,
            size=size,
            image_size=image_size,
            patch_size=patch_size,
            held_out=val_fraction,
            leave_out=leave_out,
            fold=fold,
            command=shlex.join([*launcher(), "-m", "vit_demo", *sys.argv[1:]]),
            licence=licence,
            credit=credit,
        )
    if out.is_dir():
        check_card(out)
    start = None if plan.weights == SCRATCH else read_with_progress(plan.weights, allow_pickle)
    with joined() as world:
        if not (resume and RunFolder(out).finished):
            with training_with_progress(world) as watcher_for:
                train(
                    plan,
                    start,
                    out,
                    watcher_for(""),
                    resume=resume,
                    save_every=save_every,
                    world=world,
                )
    if world.is_main:
        notes = Console(stderr=True)
        notes.print(Text(_summary(_finalize(plan, out, notes), out)), soft_wrap=True)


def _finalize(plan: Plan, out: Path, notes: Console) -> Evaluation:
    try:
        with photos_with_progress(notes, "scoring") as report:
            return finalize_run(plan, out, report)
    except KeyboardInterrupt as stopped:
        raise StoppedError(
            f"Stopped before the held-out photos were scored; finetune --resume --out {out} scores "
            "them."
        ) from stopped


def _summary(scores: Evaluation, out: Path) -> str:
    share = scores.accuracy
    return (
        f"{share.right} of {share.total} held-out photos are classified correctly: "
        f"{share.value:.4f} (95 % {format_interval(share.interval)}); saved to {out}"
    )


def _refuse_changes(arguments: list[str]) -> None:
    for argument in arguments:
        option = argument.partition("=")[0]
        if option.startswith("--") and option not in WITH_RESUME:
            raise OptionError(
                f"{option} cannot be changed when a run is resumed; leave it out, or start a new "
                "run."
            )


def _plan_to_resume(out: Path, data: Path | None, weights: str | None) -> Plan:
    folder = RunFolder(out)
    plan = Plan.from_json(folder.plan())
    if folder.finished and (out / CARD).exists():
        raise DataError(f"The run in '{out}' is finished; there is nothing to resume.")
    for name, value, planned in (("--data", data, plan.data), ("--weights", weights, plan.weights)):
        if value is not None and str(value) != planned:
            raise DataError(
                f"The run in '{out}' was started with {name} {planned}, not {value}; leave {name} "
                "out, or start a new run."
            )
    return plan


def pairs(texts: list[str]) -> dict[str, str]:
    """Parse texts of the form NAME=NUMBER; raises OptionError if a value is missing."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise OptionError(f"'{text}' has no value; write it like mixup=0.2.")
        if name in EARLIER_NAMES:
            typer.echo(f"{name} is now called {EARLIER_NAMES[name]}.", err=True)
        pairs[name] = value
    return pairs
