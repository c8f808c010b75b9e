"""The page is laid out without loading or starting anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from app import on_own_machine
from vit_demo.analysis import EXAMPLES
from vit_demo.checkpoints import CheckpointCache
from vit_demo.ui.checkpoint_policy import CheckpointPolicy
from vit_demo.ui.page import build_page
from vit_demo.ui.results import Results
from vit_demo.ui.uploads import Uploads

ROOT = Path(__file__).parents[1]

# Building gr.Blocks leaves event loops unclosed, which is Gradio's.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected"),
]


@pytest.fixture
def untouched():
    """A cache that must not be asked for anything."""

    def load(ref, progress):
        raise AssertionError("a checkpoint was loaded while the page was laid out")

    return CheckpointCache(load, 1)


def laid_out(cache, policy, folder):
    return build_page(cache, policy, Uploads(folder), Results(1))


@pytest.mark.parametrize("any_checkpoint", [True, False])
def test_laying_out_loads_nothing(untouched, any_checkpoint, tmp_path):
    page = laid_out(untouched, CheckpointPolicy(any_checkpoint=any_checkpoint), tmp_path)
    named = {getattr(block, "elem_id", ""): block for block in page.blocks.values()}
    assert named["checkpoint"].allow_custom_value is any_checkpoint
    assert named["checkpoint"].value == "flowers"
    assert ("search" in named) is any_checkpoint


def test_no_event_can_be_called_from_outside_by_name(untouched, tmp_path):
    page = laid_out(untouched, CheckpointPolicy(), tmp_path)
    assert {event.api_visibility for event in page.fns.values()} == {"private"}


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


@pytest.mark.parametrize(
    ("host", "share", "on_space", "own"),
    [
        (None, False, False, True),
        ("127.0.0.1", False, False, True),
        ("127.8.9.1", False, False, True),
        ("::1", False, False, True),
        ("localhost", False, False, True),
        ("0.0.0.0", False, False, False),
        ("::", False, False, False),
        ("192.168.0.7", False, False, False),
        ("my-machine", False, False, False),
        (None, True, False, False),
        ("127.0.0.1", False, True, False),
    ],
)
def test_a_page_that_others_can_reach_is_not_ones_own_machines(host, share, on_space, own):
    assert on_own_machine(host, share, on_space) is own
