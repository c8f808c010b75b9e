"""`finetune`: training in sight."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vit_demo.checkpoints import read_folder
from vit_demo.training.finetune import Recipe, Step
from vit_demo.training.run import train_folder


def finetune_command(
    data: Annotated[Path, typer.Option(help="A folder with one sub-folder of photos per class.")],
    weights: Annotated[Path, typer.Option(help="Folder of the checkpoint to start from.")],
    out: Annotated[Path, typer.Option(help="Folder for the new checkpoint.")],
    epochs: Annotated[int, typer.Option(min=1)] = 6,
    image_size: Annotated[int, typer.Option(min=1)] = 224,
    patch_size: Annotated[int, typer.Option(min=1)] = 16,
    held_out: Annotated[float, typer.Option(help="Share of the photos kept for scoring.")] = 0.1,
    learning_rate: Annotated[float, typer.Option(min=0)] = Recipe.learning_rate,
    seed: int = 0,
) -> None:
    """Fine-tune on your own flowers."""
    start = read_folder(weights, str(weights))
    recipe = Recipe(epochs=epochs, learning_rate=learning_rate, seed=seed)
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("training")

        def report(step: Step) -> None:
            words = f"epoch {step.epoch}  loss {step.loss:.3f}"
            progress.update(bar, total=step.steps, completed=step.step, description=words)
            if step.accuracy is not None:
                console.print(f"epoch {step.epoch}: {step.accuracy:.4f} of the held-out photos")

        score = train_folder(data, start, out, image_size, patch_size, held_out, recipe, report)
    console.print(f"{score:.4f} of the held-out photos are named correctly; saved to {out}")
