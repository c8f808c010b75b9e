"""`publish`: upload a checkpoint's folder to the Hub."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from vit_demo.publishing.upload import publish


def publish_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The checkpoint's folder.")],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository.")],
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private if it is created now.")
    ] = False,
) -> None:
    """Upload a fine-tuned checkpoint to the Hub, with its card."""
    console = Console(stderr=True)
    with console.status("Uploading"):
        done = publish(folder, name, private)
    if done.left_here:
        console.print(Text(f"Not uploaded: {', '.join(done.left_here)}"), soft_wrap=True)
    typer.echo(f"{done.address} at {done.commit}")
