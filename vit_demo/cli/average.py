"""`average`: one checkpoint from several runs."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from vit_demo.cli.finish import finish_in_sight
from vit_demo.training.average import average
from vit_demo.training.world import launcher


def average_command(
    runs: Annotated[list[Path], typer.Argument(metavar="DIR DIR …", help="Folders of the runs.")],
    out: Annotated[Path, typer.Option(help="Folder for the new checkpoint.")],
) -> None:
    """Average the weights of runs from one start, and score the mean.

    It is scored on the photos that all of them held out; a temperature and a model card are
    written, as by finetune.
    """
    data = average(runs, out, shlex.join([*launcher(), "-m", "vit_demo", *sys.argv[1:]]))
    finish_in_sight(data, out, f"the same command, once {out} is deleted,")
