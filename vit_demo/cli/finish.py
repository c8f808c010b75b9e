"""What a new checkpoint is worth, told at the end of the command that made it."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from vit_demo.cli.progress import photos_in_sight
from vit_demo.errors import StoppedError
from vit_demo.training.finish import finish
from vit_demo.training.metrics import between


def finish_in_sight(data: Path, out: Path, again: str) -> None:
    """Score, calibrate and describe what lies in `out`; `again` does so after a Ctrl-C."""
    notes = Console(stderr=True)
    try:
        with photos_in_sight(notes, "scoring") as report:
            share = finish(data, out, report).accuracy
    except KeyboardInterrupt as stopped:
        raise StoppedError(
            f"Stopped before the held-out photos were scored; {again} scores them."
        ) from stopped
    words = (
        f"{share.right} of {share.total} held-out photos are named rightly: "
        f"{share.value:.4f} (95 % {between(share.interval)}); saved to {out}"
    )
    notes.print(Text(words), soft_wrap=True)
