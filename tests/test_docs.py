"""README and docs are true: commands run, options exist, printed output and links are right."""

import ast
import json
import re
import shlex
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from documents import (
    CARD,
    CHINESE,
    DOCUMENTS,
    README,
    ROOT,
    as_shown,
    blocks,
    copy_of_the_tree,
    printed,
    run,
)

MOST_LINES = 150
QUICK_START = "python3 -m venv .venv && . .venv/bin/activate && "
NUMBER = re.compile(r"(?<![\w.])[-\u2212]?\d+(?:\.\d+)?")
LINK = re.compile(r"\]\(([^)\s]+)\)")
DOCS = "\n".join((ROOT / document).read_text(encoding="utf-8") for document in DOCUMENTS)

# Programs that the documents may call, beside Python and this package.
OTHER_PROGRAMS = {"pip", ".", "export", "cp", "mkdir", "make", "git", "ruff", "pyright", "pytest"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A fresh clone of the repository."""
    return copy_of_the_tree(tmp_path_factory.mktemp("fresh") / "clone")


@pytest.fixture(scope="module")
def output_of(clone):
    """What a command prints in the fresh clone; each command runs once for all documents."""

    @cache
    def output_of(line: str) -> str:
        return run(shlex.split(line), clone)

    return output_of


def commands(document):
    return [
        command
        for block in blocks(document)
        if block.language == "bash"
        for command in block.commands
    ]


def code(document):
    """The Python of a document without its comments, which may be in another language."""
    found = [block.text for block in blocks(document) if block.language == "python"]
    return [ast.dump(ast.parse(text)) for text in found]


def test_the_readme_is_short():
    assert len((ROOT / README).read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_the_chinese_readme_has_the_same_commands_and_code():
    chinese = [command for command in commands(CHINESE) if command[0] != "export"]
    assert chinese == commands(README)
    code = [
        [
            ast.dump(ast.parse(block.text))
            for block in blocks(document)
            if block.language == "python"
        ]
        for document in (README, CHINESE)
    ]
    assert code[0] == code[1] != []


def test_ci_runs_the_readmes_line_for_the_tests():
    lines = (ROOT / README).read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(QUICK_START) and "tests/check.py" in line]
    assert line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_both_quick_start_lines_leave_the_environment_active(clone):
    lines = [block.text for block in blocks(README) if QUICK_START in block.text]
    assert [line.removeprefix(QUICK_START).split(" && ") for line in lines] == [
        ["pip install -r requirements.txt", "python app.py"],
        ["pip install -r requirements-dev.txt", "python tests/check.py"],
    ]
    # Without pip, which would take a minute; the rest as printed, as strict as .ci/run is.
    script = QUICK_START.replace("venv .venv", "venv --without-pip .venv") + "command -v python"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=clone,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()) == clone / ".venv" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_can_be_run_runs(document, output_of):
    for block in blocks(document):
        if block.language == "bash" and not block.not_run:
            for command in block.commands:
                output_of(shlex.join(command))


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_printed_output_equals_the_output_of_the_commands(document, output_of):
    """Words must be equal, numbers to within 0.05, because processors round differently.

    `python tests/documents.py` writes the present output into the documents.
    """
    for asked, answer in printed(document):
        real = as_shown("".join(output_of(shlex.join(each)) for each in asked.commands), answer)
        stated = answer.text
        assert NUMBER.sub("#", stated) == NUMBER.sub("#", real), f"{document}:{answer.line}"
        assert numbers(stated) == pytest.approx(numbers(real), abs=0.05)


def numbers(text):
    return [float(number.replace("\u2212", "-")) for number in NUMBER.findall(text)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_every_option_exists(document, monkeypatch):
    for block in blocks(document):
        if block.language != "bash":
            continue
        subprocess.run(["bash", "-n", "-c", block.text], check=True)
        for command in block.commands:
            check_command(command, monkeypatch)


def check_command(command, monkeypatch):
    words = [word for word in command if not re.match(r"[A-Z_]+=", word)]
    program = words[0]
    if "vit_demo" in words and program in ("python", "torchrun"):
        check_our_command(words[words.index("vit_demo") + 1 :])
    elif words[:2] == ["python", "app.py"]:
        check_app_flags(words[2:], monkeypatch)
    elif program == "python" and words[1].endswith(".py"):
        script = (ROOT / words[1]).read_text(encoding="utf-8")
        assert [word for word in words[2:] if word.startswith("--") and word not in script] == []
    elif program == "pip":
        check_requirements(words)
    else:
        assert program in OTHER_PROGRAMS or words[1] == "-m", shlex.join(command)


def check_our_command(arguments):
    """Parse it with the parser of the command line itself; nothing is run."""
    import typer

    from vit_demo.cli import app
    from vit_demo.training.recipe import Recipe

    name, *rest = arguments
    group = typer.main.get_command(app)
    assert name in group.commands, name
    context = group.commands[name].make_context(name, rest)
    Recipe().changed(dict(pair.split("=") for pair in context.params.get("changes") or ()))


def check_app_flags(arguments, monkeypatch):
    from app import parse
    from vit_demo.settings import Settings

    monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
    parse(Settings())


def check_requirements(words):
    for before, word in pairwise(words):
        if before == "-r":
            assert (ROOT / word).is_file()
        elif "==" in word:
            assert word in (ROOT / "requirements.txt").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("document", [README, "docs/api.md"])
def test_the_python_examples_run(document, clone, monkeypatch):
    monkeypatch.chdir(clone)
    namespace = {}
    examples = [block for block in blocks(document) if block.language == "python"]
    assert examples
    for block in examples:
        place = f"{document}:{block.line}"
        if block.not_run:
            compile(block.text, place, "exec")
        else:
            exec(compile(block.text, place, "exec"), namespace)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_has_a_target(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    for link in LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        place, _, anchor = link.partition("#")
        target = (ROOT / document).parent / place if place else ROOT / document
        assert target.exists(), f"{document}: {link}"
        if anchor:
            assert anchor in headings(target), f"{document}: {link}"


def headings(path):
    """The anchors that GitHub gives the headings of a document."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def test_the_json_example_has_the_keys_of_the_real_one():
    from vit_demo import explain, load

    (example,) = [block for block in blocks("docs/api.md") if block.language == "json"]
    photo = ROOT / "assets" / "examples" / "dahlia.jpg"
    real = explain(load(), photo, "relevance", "roses", versus="tulips").as_json(logits=True)
    assert keys(json.loads(example.text)) == keys(real)


def keys(value):
    if isinstance(value, dict):
        return {name: keys(inner) for name, inner in value.items() if name != "options"}
    return (
        [keys(value[0])]
        if isinstance(value, list) and value and isinstance(value[0], dict)
        else None
    )


def test_every_option_of_every_command_is_documented():
    import typer

    from vit_demo.cli import app

    for name, command in typer.main.get_command(app).commands.items():
        assert f"vit_demo {name}" in DOCS
        for parameter in command.params:
            options = [option for option in parameter.opts if option.startswith("--")]
            assert not options or any(f"{option}" in DOCS for option in options), options


def test_every_flag_of_the_app_and_every_limit_is_documented(monkeypatch, capsys):
    from app import parse
    from vit_demo.settings import Settings

    hosting = (ROOT / "docs" / "hosting.md").read_text(encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["app.py", "--help"])
    with pytest.raises(SystemExit):
        parse(Settings())
    flags = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert sorted(flag for flag in flags if f"`{flag}" not in hosting) == []
    limits = {name for name, value in vars(Settings()).items() if type(value) is int}
    documented = re.findall(r"`VIT_DEMO_(\w+)` \|[^|]+\| (\d+) \|", hosting)
    assert {name.lower(): int(default) for name, default in documented} == {
        name: getattr(Settings(), name) for name in limits
    }


def test_every_method_and_every_option_of_one_is_documented():
    from vit_demo.explanations import METHODS

    text = (ROOT / "docs" / "explanations.md").read_text(encoding="utf-8")
    for method in METHODS.values():
        assert f"`{method.name}`" in text
        assert [name for name in method.defaults if f"`{name}`" not in text] == []


def test_readme_and_card_state_the_score_of_the_training_log():
    log = json.loads((ROOT / CARD).with_name("training.json").read_text(encoding="utf-8"))
    count = log["photos"]["held_out"]
    share = f"{100 * log['accuracy']:.1f} %"
    card = (ROOT / CARD).read_text(encoding="utf-8")
    assert f"{round(count * log['accuracy'])} of the {count} held-out photos ({share})" in card
    assert f"{log['photos']['training']:,} of the" in card
    assert f"{share} of {count} held-out photos correctly" in (ROOT / README).read_text("utf-8")
