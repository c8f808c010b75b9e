"""The command line: a thin wrapper around `explain`, the method table and training."""

import sys

import typer
from typer.exceptions import TyperException

from vit_demo.cli.evaluate import evaluate_command
from vit_demo.cli.experiment import experiment_command
from vit_demo.cli.explain import explain_command, methods_command
from vit_demo.cli.faithfulness import faithfulness_command
from vit_demo.cli.finetune import finetune_command
from vit_demo.cli.publish import publish_command
from vit_demo.cli.tokens import tokens_command
from vit_demo.errors import DemoError

USAGE_ERROR, INTERRUPTED = 2, 130

# Former names of options, by command; they still work, with a note.
RENAMED = {
    "explain": {"--trust": "--faithfulness"},
    "evaluate": {"--strangers": "--ood"},
    "finetune": {"--held-out": "--val-fraction"},
    "experiment": {"--held-out": "--val-fraction"},
}

app = typer.Typer(
    help="Where does a Vision Transformer look?",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
COMMANDS = {
    "explain": explain_command,
    "methods": methods_command,
    "tokens": tokens_command,
    "evaluate": evaluate_command,
    "finetune": finetune_command,
    "publish": publish_command,
    "experiment": experiment_command,
    "faithfulness": faithfulness_command,
}
for name, command in COMMANDS.items():
    app.command(name=name)(command)


def main() -> None:
    """Run the command line: exit status 0, or 2 and one line on stderr for a user's error."""
    try:
        status = app(args=_renamed(sys.argv[1:]), standalone_mode=False)
    except DemoError as error:
        status = _refuse(str(error))
    except TyperException as error:
        command = f" {sys.argv[1]}" if sys.argv[1:] and sys.argv[1] in COMMANDS else ""
        status = _refuse(f"{error.format_message()} Try: python -m vit_demo{command} --help")
    if status == INTERRUPTED:
        typer.echo("Stopped.", err=True)
    sys.exit(status if isinstance(status, int) else 0)


def _renamed(arguments: list[str]) -> list[str]:
    """Replace former names of options by the current ones, with a note on stderr for each."""
    names = RENAMED.get(arguments[0], {}) if arguments else {}
    current = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in names:
            typer.echo(f"{name} is now called {names[name]}.", err=True)
        current.append(names.get(name, name) + equals + value)
    return current


def _refuse(message: str) -> int:
    typer.echo(" ".join(message.split()), err=True)
    return USAGE_ERROR
