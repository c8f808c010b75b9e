"""A cached file is hashed once; then its stored result is used until the file changes."""

import os
from pathlib import Path

import pytest
from hub_driver import CONFIG, FILES
from loopback_hub import sha256

MEGABYTE = 1_000_000
LARGE = bytes(range(250)) * 80_000  # 20 MB
IO = Path("/proc/self/io")


@pytest.fixture
def twice(driver, hub, tmp_path):
    """Fetch a repository in a fresh process: the bytes that it reads, and the result.

    Another repository is fetched before it, so that what the client loads first is not counted.
    """
    other = hub.add("ann/before-it", {"config.json": CONFIG, "model.safetensors": b"1"})

    def call(there, **env):
        calls = [("fetch", {"reference": name}) for name in (other.name, there.name)]
        result = driver.calls(hub.endpoint, tmp_path, *calls, **env)[1]
        return result["bytes_read"], result

    return call


needs_io = pytest.mark.skipif(not IO.exists(), reason="this system does not count bytes read")


@needs_io
def test_weights_are_hashed_after_the_download_and_not_at_the_second_load(twice, repo):
    there = repo(FILES | {"model.safetensors": LARGE})
    first, _ = twice(there)
    second, result = twice(there)
    assert first >= len(LARGE)
    assert second < MEGABYTE
    assert Path(result["folder"], "model.safetensors").read_bytes() == LARGE


@needs_io
def test_a_file_downloaded_by_another_program_is_hashed_once(twice, repo, tmp_path):
    there = repo(FILES | {"model.safetensors": LARGE})
    twice(there)
    for record in (tmp_path / "hf" / "assets").rglob("*.json"):
        record.unlink()
    assert len(LARGE) <= twice(there)[0] < len(LARGE) + MEGABYTE
    assert twice(there)[0] < MEGABYTE


@needs_io
@pytest.mark.parametrize("change", ["the time", "a byte"])
def test_a_changed_file_is_hashed_again(twice, repo, change):
    there = repo(FILES | {"model.safetensors": LARGE})
    path = Path(twice(there)[1]["folder"], "model.safetensors")
    if change == "the time":
        os.utime(path, (0, 0))
    else:
        path.write_bytes(b"\1" + LARGE[1:])
    count, result = twice(there)
    assert count >= len(LARGE)
    assert Path(result["folder"], "model.safetensors").read_bytes() == LARGE


@needs_io
def test_a_file_known_as_damaged_is_not_hashed_again(twice, repo):
    there = repo(FILES | {"model.safetensors": LARGE})
    shared = Path(twice(there)[1]["folder"], "model.safetensors")
    shared.write_bytes(b"\1" + LARGE[1:])
    twice(there)
    count, result = twice(there)
    assert count < MEGABYTE
    assert Path(result["folder"], "model.safetensors").read_bytes() == LARGE
    assert shared.read_bytes() == b"\1" + LARGE[1:]


@pytest.fixture
def records(tmp_path, monkeypatch):
    """The folder of the records, below a home of the test's own."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return tmp_path / "assets" / "vit_demo" / "hub" / "verified"


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '{"intact": true}', '{"intact": "yes"}'])
def test_a_record_of_another_state_is_ignored(records, tmp_path, text):
    from vit_demo.checkpoints.hub.verified import intact

    path = tmp_path / "file"
    path.write_bytes(b"something")
    assert not intact(path, sha256(b"something else"))
    (record,) = records.iterdir()
    record.write_text(text)
    assert not intact(path, sha256(b"something else"))
    assert intact(path, sha256(b"something"))


def test_without_a_writable_record_the_file_is_hashed_each_time(records, tmp_path):
    from vit_demo.checkpoints.hub.verified import intact

    path = tmp_path / "file"
    path.write_bytes(b"something")
    (tmp_path / "assets").write_text("a file where the folder should be")
    for _ in range(2):
        assert intact(path, sha256(b"something"))
        assert not intact(path, sha256(b"something else"))


def test_a_damaged_file_stays_damaged_without_a_known_hash(records, tmp_path):
    """Without links (Windows) only the listing says what a file should hold."""
    from vit_demo.checkpoints.hub.verified import intact, known_as_damaged

    path = tmp_path / "file"
    path.write_bytes(b"something")
    assert intact(path)
    assert not intact(path, sha256(b"something else"))
    assert not intact(path)
    assert known_as_damaged(path)
    path.write_bytes(b"something else")
    assert intact(path)
