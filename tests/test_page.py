"""The page is laid out without loading or starting anything."""

import gc
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vit_demo.checkpoints import CheckpointCache
from vit_demo.ui.page import EXAMPLES, build_page, choices

ROOT = Path(__file__).parents[1]

# Building gr.Blocks leaves event loops unclosed, which is Gradio's.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collected():
    """What Gradio left unclosed is collected here, not in the middle of another module's test."""
    yield
    gc.collect()


@pytest.fixture
def untouched():
    """A cache that must not be asked for anything."""

    def load(ref, progress):
        raise AssertionError("a checkpoint was loaded while the page was laid out")

    return CheckpointCache(load, 1)


@pytest.mark.parametrize("any_checkpoint", [True, False])
def test_laying_out_loads_nothing(untouched, any_checkpoint):
    page = build_page(untouched, "flowers", any_checkpoint)
    picker = next(b for b in page.blocks.values() if getattr(b, "elem_id", "") == "checkpoint")
    assert picker.allow_custom_value is any_checkpoint
    assert picker.value == "flowers"


def test_no_event_can_be_called_from_outside_by_name(untouched):
    page = build_page(untouched, "flowers")
    assert {event.api_visibility for event in page.fns.values()} == {"private"}


def test_the_picker_begins_with_what_was_asked_for():
    assert choices("flowers")[0][1] == "flowers"
    assert choices("my/own")[0] == ("my/own", "my/own")


def test_every_example_lies_in_the_assets_and_is_credited():
    credits = (ROOT / "CREDITS.md").read_text(encoding="utf-8")
    for name in EXAMPLES:
        assert (ROOT / "assets" / "examples" / name).is_file()
        assert name in credits


def test_importing_the_app_starts_nothing():
    code = "import sys; sys.argv = ['x']; import app; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


def test_an_app_that_cannot_start_says_so_in_one_line():
    done = subprocess.run(
        [sys.executable, "app.py", "--checkpoint", "nothing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "'nothing' is no bundled checkpoint" in done.stderr


def test_the_space_installs_the_gradio_that_is_pinned():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pinned = re.search(r"^gradio==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    stated = re.search(r"^sdk_version: (\S+)", readme, re.MULTILINE)
    assert stated[1] == pinned[1]
    assert re.search(r"^app_file: app.py", readme, re.MULTILINE)


def test_the_readmes_test_line_is_what_ci_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    line = next(line for line in readme.splitlines() if re.match(r"python3.*check\.py", line))
    assert line in ci.replace("install -q ", "install ")


def test_the_catalogue_is_offered():
    refs = [entry["ref"] for entry in json.loads((ROOT / "assets" / "catalogue.json").read_text())]
    assert [ref for _, ref in choices("flowers")] == refs
