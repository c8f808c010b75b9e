"""The rules of the house: imports point down, libraries keep to their rooms, nothing prints."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import vit_demo

PACKAGE = Path(vit_demo.__file__).parent
ROOT = "vit_demo"  # the package's own front door: load and explain

# Rooms, from the ground up. A room may import only from the floors below its own; the files of
# one package may import each other.
FLOORS = (
    {"errors"},
    {"checks", "settings", "photo_headers"},
    {"trace", "photo", "precision", "predictions"},
    {"models", "preprocess", "figures"},
    {"checkpoints", "explanations"},
    {"data", "faithfulness"},
    {"evaluation"},
    {"training"},
    {"analysis", "publishing"},
    {"captions", ROOT},
    {"ui", "cli"},
    {"__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# Lower down, and out of bounds all the same: models read no files, figures know no flows.
APART = {"models": {"photo", "settings"}, "figures": {"trace", "photo"}}

# Libraries that belong to some files of the package only.
FENCED = {
    "gradio": ("ui/",),
    "typer": ("cli/",),
    "huggingface_hub": ("checkpoints/", "publishing/upload.py"),
    "transformers": (),
    "timm": (),
    "torchvision": (),
    "pytest": (),
    "beartype": (),
}

# Test modules named after what they test, where that is no module's name.
NAMED_OTHERWISE = {
    "architecture",
    "docs",
    "examples",
    "extension",
    "golden",
    "names",
    "hostile_files",
    "swin_trace",
    "transformers",
    "transformers_layout",
}


def room_of(relative: str) -> str:
    """The room that a file belongs to: its top folder, or its own name."""
    path = Path(relative)
    return ROOT if relative == "__init__.py" else path.parts[0].removesuffix(".py")


def imported(tree: ast.AST, relative: str) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that a file imports, wherever it does so."""
    home = [ROOT, *Path(relative).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = home[: len(home) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def complaints(source: str, relative: str) -> list[str]:
    """What is wrong with a file that lies at `relative` in the package."""
    tree = ast.parse(source)
    own = room_of(relative)
    found = []
    for line, name in imported(tree, relative):
        top, *rest = name.split(".")
        if top == ROOT:
            room = rest[0] if rest and rest[0] in FLOOR else ROOT
            if room != own and FLOOR[room] >= FLOOR[own]:
                found.append(f"{relative}:{line} imports {name}, which is not below it")
            if room in APART.get(own, ()):
                found.append(f"{relative}:{line} imports {name}, which it should not know")
        elif not any(relative.startswith(room) for room in FENCED.get(top, ("",))):
            found.append(f"{relative}:{line} imports {top}, which does not belong there")
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
        ):
            found.append(f"{relative}:{node.lineno} prints")
    return found


FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def test_every_file_belongs_to_a_room_of_the_plan():
    assert len(FILES) > 20
    assert not {room_of(file) for file in FILES} - FLOOR.keys()


@pytest.mark.parametrize("file", FILES)
def test_files_keep_the_rules_of_the_house(file):
    assert complaints((PACKAGE / file).read_text(encoding="utf-8"), file) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("trace.py", "from vit_demo.models.vit import ViTConfig"),
        ("trace.py", "from vit_demo import photo"),
        ("trace.py", "import vit_demo.models.vit as v"),
        ("trace.py", "import vit_demo"),
        ("trace.py", "from . import analysis"),
        ("trace.py", "def later():\n    from vit_demo.analysis import explain"),
        ("models/vit.py", "from vit_demo.preprocess import Preprocessing"),
        ("models/vit.py", "from vit_demo.photo import read_photo"),
        ("models/vit.py", "from ..figures import overlay"),
        ("figures/overlay.py", "from vit_demo.trace import Trace"),
        ("analysis.py", "from vit_demo import explain"),
        ("analysis.py", "from vit_demo.cli import app"),
        ("cli/explain.py", "from vit_demo.ui import build"),
        ("__init__.py", "from vit_demo.cli import app"),
        ("analysis.py", "import gradio as gr"),
        ("cli/explain.py", "from gradio import Blocks"),
        ("ui/page.py", "import typer"),
        ("data/dataset.py", "from huggingface_hub import HfApi"),
        ("checkpoints/files.py", "import transformers"),
        ("trace.py", "print('here')"),
    ],
)
def test_a_planted_fault_is_found(file, source):
    assert complaints(source, file)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("models/vit.py", "from vit_demo.models.layers import Mlp"),
        ("models/vit.py", "from .layers import Mlp"),
        ("models/vit.py", "from ..trace import Trace"),
        ("checkpoints/families/vit.py", "from ..files import CONFIG"),
        ("checkpoints/hub.py", "import huggingface_hub"),
        ("publishing/upload.py", "from huggingface_hub import HfApi"),
        ("ui/page.py", "import gradio as gr\nfrom vit_demo import explain, load"),
        ("cli/explain.py", "import typer\nfrom vit_demo.analysis import explain"),
        ("__main__.py", "from vit_demo.cli import main"),
        ("cli/explain.py", "console.print('a table')"),
    ],
)
def test_what_is_allowed_passes(file, source):
    assert complaints(source, file) == []


def test_every_test_module_is_named_after_what_it_tests():
    modules = {path.stem for path in PACKAGE.rglob("*.py")}
    rooms = {path.name for path in PACKAGE.rglob("*") if path.is_dir()}
    names = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert names - NAMED_OTHERWISE <= modules | rooms
    assert names >= NAMED_OTHERWISE
