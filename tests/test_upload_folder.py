"""What visitors uploaded goes with the app, also with one that ended abruptly."""

import subprocess
import sys
from pathlib import Path

import pytest

from vit_demo.errors import OutputError
from vit_demo.ui.upload_folder import LOCK, delete_abandoned, upload_folder

ROOT = Path(__file__).parents[1]

HOLD = """
import sys
from pathlib import Path
from vit_demo.ui.upload_folder import upload_folder
with upload_folder(Path(sys.argv[1])) as folder:
    (folder / "photo.jpg").write_bytes(b"somebody's")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_app(tmp_path):
    """Another process that holds a folder: it and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_the_folder_is_gone_when_the_app_has_ended(tmp_path):
    with upload_folder(tmp_path) as folder:
        (folder / "photo.jpg").write_bytes(b"photo")
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_after_an_error_too(tmp_path):
    with pytest.raises(KeyError), upload_folder(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_the_next_start_deletes_what_a_killed_app_left_and_nothing_of_a_running_one(
    other_app, tmp_path
):
    process, theirs = other_app
    unrelated = tmp_path / "gradio"
    unrelated.mkdir()
    with upload_folder(tmp_path):
        assert (theirs / "photo.jpg").exists()
    process.kill()
    process.wait()
    assert (theirs / "photo.jpg").exists()
    with upload_folder(tmp_path):
        assert not theirs.exists()
    assert unrelated.exists()


def test_a_link_to_a_folder_of_that_name_is_not_followed(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / LOCK).touch()
    (tmp_path / "vit_demo-run-x").symlink_to(own)
    assert delete_abandoned(tmp_path) == []
    assert own.exists()


def test_where_nothing_can_be_written_it_says_what_to_do(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match="set GRADIO_TEMP_DIR"), upload_folder(file / "below"):
        pass
