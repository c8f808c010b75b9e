"""`experiment`: compare a pretrained start with training from scratch on your own photos."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vit_demo.cli.checkpoint import read_with_progress
from vit_demo.cli.finetune import pairs
from vit_demo.cli.progress import training_with_progress
from vit_demo.evaluation.metrics import format_interval
from vit_demo.training.distributed import bfloat16_is_faster_here, joined, launcher
from vit_demo.training.experiment import PLOT, Arm, compare
from vit_demo.training.plan import Plan
from vit_demo.training.recipe import Recipe


def experiment_command(
    data: Annotated[Path, typer.Option(help="A folder with one sub-folder of photos per class.")],
    weights: Annotated[
        str, typer.Option(metavar="REF", help="The pretrained checkpoint to compare with.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for both runs, the table and the plot.")],
    head_epochs: Annotated[int, typer.Option(min=0)] = Recipe.head_epochs,
    epochs: Annotated[int, typer.Option(min=1)] = Recipe.epochs,
    image_size: Annotated[int, typer.Option(min=1, help="In pixels.")] = Plan.image_size,
    patch_size: Annotated[int, typer.Option(min=1, help="In pixels.")] = Plan.patch_size,
    val_fraction: Annotated[
        float, typer.Option(help="Fraction of the photos held out for validation.")
    ] = Plan.held_out,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=NUMBER", help="Change a number of the recipe."),
    ] = None,
    seed: int = 0,
) -> None:
    """Train one model shape twice, pretrained and from scratch, and compare.

    After an interruption, the same command resumes the runs.
    """
    recipe = Recipe(
        head_epochs=head_epochs, epochs=epochs, bfloat16=bfloat16_is_faster_here(), seed=seed
    ).changed(pairs(changes or []))
    plan = Plan(
        data=str(data),
        weights=weights,
        recipe=recipe,
        image_size=image_size,
        patch_size=patch_size,
        held_out=val_fraction,
        command=shlex.join([*launcher(), "-m", "vit_demo", *sys.argv[1:]]),
    )
    start = read_with_progress(weights)
    with joined() as world, training_with_progress(world) as watcher_for:
        arms = compare(plan, start, out, watcher_for, world)
    if world.is_main:
        _print_table(arms, out)


def _print_table(arms: tuple[Arm, Arm], out: Path) -> None:
    table = Table(
        "start", "epochs", "held-out accuracy", "95 %", "best accuracy", "minutes", box=None
    )
    for arm in arms:
        table.add_row(
            arm.name,
            str(len(arm.accuracies)),
            f"{arm.accuracies[-1]:.3f}",
            format_interval(arm.last.interval),
            f"{max(arm.accuracies):.3f}",
            f"{arm.summary['minutes']:.1f}",
        )
    console = Console()
    console.print(table)
    photos = arms[0].summary["photos"]["held_out"]
    console.print(Text(f"{photos} photos held out; {out / PLOT}"), soft_wrap=True)
