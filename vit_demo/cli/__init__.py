"""The command line: a thin face of `explain`, the method table and training."""

import sys

import typer
from typer.exceptions import TyperException

from vit_demo.cli.evaluate import evaluate_command
from vit_demo.cli.experiment import experiment_command
from vit_demo.cli.explain import explain_command, methods_command
from vit_demo.cli.faithfulness import faithfulness_command
from vit_demo.cli.finetune import finetune_command
from vit_demo.cli.publish import publish_command
from vit_demo.errors import DemoError

MENDABLE, INTERRUPTED = 2, 130

app = typer.Typer(
    help="Where does a Vision Transformer look?",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command(name="explain")(explain_command)
app.command(name="methods")(methods_command)
app.command(name="evaluate")(evaluate_command)
app.command(name="finetune")(finetune_command)
app.command(name="publish")(publish_command)
app.command(name="experiment")(experiment_command)
app.command(name="faithfulness")(faithfulness_command)


def main() -> None:
    """Run the command line: status 0, or 2 and one line on stderr for what a person can mend."""
    try:
        status = app(standalone_mode=False)
    except DemoError as error:
        status = _refuse(str(error))
    except TyperException as error:
        status = _refuse(f"{error.format_message()} Try: python -m vit_demo --help")
    if status == INTERRUPTED:
        typer.echo("Stopped.", err=True)
    sys.exit(status if isinstance(status, int) else 0)


def _refuse(message: str) -> int:
    typer.echo(" ".join(message.split()), err=True)
    return MENDABLE
