"""Read the Markdown files: their fenced blocks, commands and links; run their commands.

python tests/documents.py    writes the present output of every command into the documents
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
README, CHINESE, CARD = "README.md", "README.zh.md", "assets/checkpoints/flowers/README.md"
DOCUMENTS = (
    README,
    CHINESE,
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")),
    CARD,
)

FENCE = re.compile(r"^ *```(\w*)$")
NOT_RUN = re.compile(r"^ *<!-- not run: (.+) -->$")
NOT_COPIED = (".git", ".venv", ".*_cache", "__pycache__", "runs", "build", "*.egg-info")

# A fixed terminal width, so that rich wraps lines in the same way everywhere.
COLUMNS = "120"

# The last line of an output of which only the first lines are shown.
AND_SO_ON = "…"


@dataclass(frozen=True)
class Block:
    """A fenced block: its text, its first line number, and the reason if it is not run."""

    line: int
    language: str
    text: str
    not_run: str | None

    @property
    def commands(self) -> list[list[str]]:
        """Its shell commands as lists of words, without comments."""
        commands: list[list[str]] = []
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while "&&" in words:
                place = words.index("&&")
                commands.append(words[:place])
                words = words[place + 1 :]
            if words:
                commands.append(words)
        return commands


def blocks(document: str) -> list[Block]:
    """The fenced blocks of a document, in order."""
    found: list[Block] = []
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    start, language, reason = None, "", None
    for number, line in enumerate(lines, start=1):
        fence = FENCE.match(line)
        if start is None and fence:
            start, language = number + 1, fence[1]
        elif start is None and line.strip():
            comment = NOT_RUN.match(line)
            reason = comment[1] if comment else None
        elif start is not None and fence:
            text = "\n".join(lines[start - 1 : number - 1])
            found.append(Block(start, language, text, reason))
            start, reason = None, None
    return found


def copy_of_the_tree(folder: Path) -> Path:
    """Copy the files of a fresh clone into a new folder."""
    return shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))


def run(command: list[str], folder: Path) -> str:
    """The standard output of one command, run in a folder; AssertionError unless it succeeds.

    Our own command line runs in this process: importing torch for each would take minutes.
    """
    if command[:3] == ["python", "-m", "vit_demo"]:
        return _run_here(command[3:], folder)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
    return done.stdout


def _run_here(arguments: list[str], folder: Path) -> str:
    from vit_demo.cli import main

    out, err, status = io.StringIO(), io.StringIO(), None
    with (
        contextlib.chdir(folder),
        _replaced(os.environ, "COLUMNS", COLUMNS),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        before, sys.argv = sys.argv, ["vit_demo", *arguments]
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        finally:
            sys.argv = before
    assert status == 0, f"{shlex.join(arguments)}: {err.getvalue()}"
    return out.getvalue()


@contextlib.contextmanager
def _replaced(mapping: "os._Environ[str]", name: str, value: str) -> Iterator[None]:
    before = mapping.get(name)
    mapping[name] = value
    try:
        yield
    finally:
        del mapping[name]
        if before is not None:
            mapping[name] = before


def printed(document: str) -> Iterator[tuple[Block, Block]]:
    """Blocks of commands that are run, and the `text` block right after each: what they print."""
    found = blocks(document)
    for asked, answer in pairwise(found):
        if asked.language == "bash" and answer.language == "text" and not asked.not_run:
            yield asked, answer


def as_shown(output: str, answer: Block) -> str:
    """An output without trailing spaces, truncated where the document truncates it."""
    lines = [line.rstrip() for line in output.splitlines()]
    stated = answer.text.splitlines()
    if stated[-1] == AND_SO_ON:
        lines = [*lines[: len(stated) - 1], AND_SO_ON]
    return "\n".join(lines)


def main() -> None:
    """Write the current output of the commands into the documents."""
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as temporary:
        clone = copy_of_the_tree(Path(temporary) / "clone")

        @cache
        def output_of(line: str) -> str:
            return run(shlex.split(line), clone)

        for document in DOCUMENTS:
            path = ROOT / document
            lines = path.read_text(encoding="utf-8").splitlines()
            for asked, answer in reversed(list(printed(document))):
                output = "".join(output_of(shlex.join(command)) for command in asked.commands)
                end = answer.line - 1 + len(answer.text.splitlines())
                lines[answer.line - 1 : end] = as_shown(output, answer).splitlines()
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
