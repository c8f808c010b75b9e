"""The command line."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vit_demo.checkpoints import transformers
from vit_demo.training.finetune import Recipe, Step
from vit_demo.training.run import train_folder

app = typer.Typer()


@app.callback()
def root() -> None:
    """Show where a Vision Transformer looks."""


@app.command(name="finetune")
def finetune_command(
    data: Annotated[Path, typer.Option()],
    weights: Annotated[Path, typer.Option()],
    out: Annotated[Path, typer.Option()],
    epochs: int = 6,
    image_size: int = 224,
    patch_size: int = 16,
    held_out: float = 0.1,
    seed: int = 0,
) -> None:
    """Fine-tune on a folder with one sub-folder of photos per class."""
    start = transformers.read(weights, str(weights))
    recipe = Recipe(epochs=epochs, seed=seed)
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
            progress.update(
                bar,
                total=step.steps,
                completed=step.step,
                description=f"epoch {step.epoch}  loss {step.loss:.3f}",
            )
            if step.accuracy is not None:
                console.print(f"epoch {step.epoch}: {step.accuracy:.4f} of the held-out photos")

        score = train_folder(data, start, out, image_size, patch_size, held_out, recipe, report)
    console.print(f"{score:.4f} of the held-out photos are named correctly; saved to {out}")


def main() -> None:
    app()
