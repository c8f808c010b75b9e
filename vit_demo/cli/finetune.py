"""`finetune`: training in sight, stopped and gone on with at will."""

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
from vit_demo.evaluation.metrics import between
from vit_demo.publishing.finalize_run import finalize_run
from vit_demo.publishing.model_card import CARD, check_card
from vit_demo.training.distributed import bfloat16_is_faster_here, joined, launcher
from vit_demo.training.plan import NOT_STATED, SCRATCH, Plan
from vit_demo.training.recipe import EARLIER_NAMES, SCRATCH_LEARNING_RATE, Recipe
from vit_demo.training.run import train
from vit_demo.training.run_folder import RunFolder

# What may stand beside --resume: the rest is in the plan of the run.
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
    val_fraction: Annotated[
        float, typer.Option(help="Fraction of the photos held out for validation.")
    ] = Plan.held_out,
    fold: Annotated[
        int, typer.Option(min=1, help="Which share of that size: 5 of 0.2 hold all photos.")
    ] = Plan.fold,
    leave_out: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Train without this class.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0, help=f"{Recipe.learning_rate} unless given, {SCRATCH_LEARNING_RATE} from none."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = Recipe.batch_size,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=NUMBER", help="Another number of the recipe."),
    ] = None,
    licence: Annotated[str, typer.Option(help="The photos' licence, for the card.")] = NOT_STATED,
    credit: Annotated[str, typer.Option(help="Whose photos, for the card.")] = NOT_STATED,
    allow_pickle: PickleOption = False,
    seed: int = 0,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between saved states.")] = 50,
) -> None:
    """Fine-tune on your own flowers: first the head, then all of the model.

    At the end the held-out photos are scored, and a temperature and a model card are written.
    Ctrl-C saves and says how to go on. Several processes share the work under torchrun.
    """
    if resume:
        _refuse_changes(sys.argv[1:])
        plan = _plan_to_go_on_with(out, data, weights)
    elif data is None or weights is None:
        raise OptionError("--data and --weights are missing; or go on with a run by --resume.")
    else:
        usual = SCRATCH_LEARNING_RATE if weights == SCRATCH else Recipe.learning_rate
        recipe = Recipe(
            head_epochs=head_epochs if weights != SCRATCH else 0,
            epochs=epochs,
            learning_rate=usual if learning_rate is None else learning_rate,
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
            with training_with_progress(world) as run_with_trace:
                train(
                    plan,
                    start,
                    out,
                    run_with_trace(""),
                    resume=resume,
                    save_every=save_every,
                    world=world,
                )
    if world.is_main:
        notes = Console(stderr=True)
        notes.print(Text(_worth(_finished(plan, out, notes), out)), soft_wrap=True)


def _finished(plan: Plan, out: Path, notes: Console) -> Evaluation:
    try:
        with photos_with_progress(notes, "scoring") as report:
            return finalize_run(plan, out, report)
    except KeyboardInterrupt as stopped:
        raise StoppedError(
            f"Stopped before the held-out photos were scored; finetune --resume --out {out} scores "
            "them."
        ) from stopped


def _worth(scores: Evaluation, out: Path) -> str:
    share = scores.accuracy
    return (
        f"{share.right} of {share.total} held-out photos are named rightly: "
        f"{share.value:.4f} (95 % {between(share.interval)}); saved to {out}"
    )


def _refuse_changes(arguments: list[str]) -> None:
    for argument in arguments:
        option = argument.partition("=")[0]
        if option.startswith("--") and option not in WITH_RESUME:
            raise OptionError(
                f"{option} cannot be changed in the middle of a run; leave it out, or begin "
                "another run."
            )


def _plan_to_go_on_with(out: Path, data: Path | None, weights: str | None) -> Plan:
    folder = RunFolder(out)
    plan = Plan.from_json(folder.plan())
    if folder.finished and (out / CARD).exists():
        raise DataError(f"The run in '{out}' has come to its end; there is nothing to go on with.")
    for name, given, planned in (("--data", data, plan.data), ("--weights", weights, plan.weights)):
        if given is not None and str(given) != planned:
            raise DataError(f"The run in '{out}' was begun with {name} {planned}, not {given}.")
    return plan


def pairs(given: list[str]) -> dict[str, str]:
    """What was given as NAME=NUMBER; raises OptionError where a value is missing."""
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise OptionError(f"'{text}' lacks its value; write it like mixup=0.2.")
        if name in EARLIER_NAMES:
            typer.echo(f"{name} is now called {EARLIER_NAMES[name]}.", err=True)
        pairs[name] = value
    return pairs
