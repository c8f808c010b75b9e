"""Downloads that are damaged, late or missing."""

from pathlib import Path
from threading import Event

import pytest
from hub_driver import (
    API_SECONDS,
    AT_ONCE_SECONDS,
    CONFIG,
    FETCHED,
    FILES,
    WEIGHTS,
    mirroring,
    one_sentence,
)
from loopback_hub import git_sha1, sha256

from vit_demo.checkpoints.hub.client import ANSWER_SECONDS, START_SECONDS

# Damaged on the way


def test_an_interrupted_download_is_resumed(fetch, repo, hub):
    piece = 10 * 2**20  # the client keeps what it has in pieces of this size
    large = bytes(piece + 2000)
    there = repo(FILES | {"model.safetensors": large}, cuts=[piece + 1000])
    result = fetch(there.name, skip_sleeps=True)
    assert result["files"]["model.safetensors"] == len(large)
    ranges = [r.range for r in hub.requests(there, "GET") if "/large/" in r.path]
    assert ranges == [None, f"bytes={piece}-"]


def test_an_interrupted_short_download_starts_again(fetch, repo, hub):
    there = repo(cuts=[1000])
    assert fetch(there.name, skip_sleeps=True)["files"]["model.safetensors"] == len(WEIGHTS)
    ranges = [r.range for r in hub.requests(there, "GET") if "/large/" in r.path]
    assert ranges == [None, None]


@pytest.mark.parametrize("behavior", ["damaged", "shortened"])
def test_a_damaged_download_is_repeated(fetch, repo, behavior):
    result = fetch(repo(**{behavior: 1}).name)
    assert Path(result["folder"], "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("behavior", ["damaged", "shortened"])
def test_a_download_that_stays_damaged_is_reported_and_removed(fetch, repo, tmp_path, behavior):
    there = repo(**{behavior: 2})
    one_sentence(fetch(there.name), "DamagedError", there.name, "2 times")
    assert not list(tmp_path.rglob("model.safetensors"))
    assert not list(tmp_path.rglob(f"blobs/{sha256(WEIGHTS)}*"))
    assert fetch(there.name)["files"]["model.safetensors"] == len(WEIGHTS)


def test_an_endless_download_is_aborted(fetch, repo, tmp_path):
    there = repo(extra=bytes(30_000_000))
    one_sentence(fetch(there.name), "DamagedError", "more than")
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) < 1_000_000


# Damaged in the cache, which other programs share


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("pinned", [False, True])
def test_a_damaged_file_in_the_shared_cache_is_kept_and_downloaded_to_our_own_cache(
    fetch, repo, hub, name, pinned
):
    there = repo()
    reference = f"{there.name}@{there.commit}" if pinned else there.name
    shared = Path(fetch(reference)["folder"])
    damaged = damage(shared / name)
    result = fetch(reference)
    assert {file: Path(result["folder"], file).read_bytes() for file in FETCHED} == {
        file: FILES[file] for file in FETCHED
    }
    assert (shared / name).read_bytes() == damaged
    hub.log.clear()
    again = fetch(reference, env={"HF_HUB_OFFLINE": "1"})
    assert again["folder"] == result["folder"]
    assert hub.requests(there) == []


def test_a_damaged_blob_that_another_commit_shares_is_not_used_either(fetch, repo):
    """The client would link the new commit to the existing blob without downloading it."""
    there = repo()
    shared = Path(fetch(there.name)["folder"])
    damaged = damage(shared / "model.safetensors")
    there.files = FILES | {"README.md": b"# Written anew"}
    result = fetch(there.name)
    assert result["revision"] == there.commit != shared.name
    assert Path(result["folder"], "model.safetensors").read_bytes() == WEIGHTS
    assert (shared / "model.safetensors").read_bytes() == damaged


def test_a_damaged_file_in_the_shared_cache_is_not_used_offline(driver, hub, repo, tmp_path):
    there = repo()
    call = ("fetch", {"reference": there.name})
    shared = Path(driver.calls(hub.endpoint, tmp_path, call)[0]["folder"])
    damaged = damage(shared / "model.safetensors")
    result, listed = driver.calls(hub.endpoint, tmp_path, call, ("cached", {}), HF_HUB_OFFLINE="1")
    one_sentence(result, "UnreachableError", "no complete copy", there.name)
    assert listed["cached"] == []
    assert (shared / "model.safetensors").read_bytes() == damaged


def test_a_damaged_file_in_our_own_cache_is_downloaded_again(fetch, repo):
    there = repo()
    damage(Path(fetch(there.name)["folder"], "model.safetensors"))
    own = Path(fetch(there.name)["folder"], "model.safetensors")
    damage(own)
    assert Path(fetch(there.name)["folder"], "model.safetensors") == own
    assert own.read_bytes() == WEIGHTS


def damage(path: Path) -> bytes:
    """Change a byte in place, as a failing disk does; returns the new content."""
    content = bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]
    path.write_bytes(content)
    return content


# Stopped


@pytest.mark.parametrize("behavior", [{"api_seconds": 20}, {"gate": Event()}, {"head_status": 503}])
def test_cancelling_takes_effect_at_once(fetch, repo, behavior):
    result = fetch(repo(**behavior).name, cancel_after=0.7)
    one_sentence(result, "CancelledError", "stopped")
    assert result["seconds"] < AT_ONCE_SECONDS


# The client's own patience. Its sleeps are noted instead of slept; our limits are shortened.


def test_an_unanswered_search_times_out(driver, hub, tmp_path):
    hub.add("eve/lilies", FILES, api_seconds=60)
    call = ("search", {"query": "lilies", "waits": {"ANSWER_SECONDS": 1}})
    slow = driver.calls(hub.endpoint, tmp_path, call)[0]
    one_sentence(slow, "UnreachableError", "in time")
    assert 1 <= slow["seconds"] < 1 + API_SECONDS - ANSWER_SECONDS


@pytest.mark.parametrize("status", [429, 503])
def test_files_that_do_not_come_although_they_are_listed(fetch, repo, status):
    """The client's own retries end before our timeout, so its reason is reported."""
    result = fetch(repo(head_status=status).name, skip_sleeps=True)
    one_sentence(result, "UnreachableError", f"answered {status}")
    assert result["slept"] == [1, 2, 4, 8, 8]
    assert sum(result["slept"]) + AT_ONCE_SECONDS < START_SECONDS <= 30


def test_a_retry_after_five_minutes_is_not_awaited(fetch, repo):
    result = fetch(repo(head_status=429, retry_after="300").name, waits={"START_SECONDS": 2})
    one_sentence(result, "UnreachableError", "in time")
    assert 2 <= result["seconds"] < 2 + AT_ONCE_SECONDS


def test_a_download_that_never_starts(fetch, repo):
    result = fetch(repo(cut_always=0).name, skip_sleeps=True)
    one_sentence(result, "UnreachableError", "closed the connection")
    assert result["slept"] == [1, 1, 1, 1, 1]
    assert result["seconds"] < AT_ONCE_SECONDS


def test_the_blob_names_that_are_relied_on(fetch, repo):
    folder = Path(fetch(repo().name)["folder"])
    blobs = {name: (folder / name).readlink().name for name in FETCHED}
    assert blobs["model.safetensors"] == sha256(WEIGHTS)
    assert blobs["config.json"] == git_sha1(CONFIG)


# A mirror, in front of the Hub and without it


@pytest.mark.slow
def test_a_mirror_passes_a_refused_token_on_as_a_missing_repository(driver, mirror, repo, tmp_path):
    call = ("fetch", {"reference": repo().name})
    result = driver.calls(mirror, tmp_path, call, HF_TOKEN="hf_expired")[0]
    one_sentence(result, "NotFoundError", "your access token", "expired", "hf auth login")


@pytest.mark.slow
def test_a_file_that_a_mirror_has_damaged_is_reported(driver, mirror, repo, tmp_path):
    there = repo(damaged=1)
    result = driver.calls(mirror, tmp_path, ("fetch", {"reference": there.name}))[0]
    one_sentence(result, "DamagedError", there.name, "another")


@pytest.mark.slow
def test_a_mirror_that_is_offline_itself_still_serves_what_it_has(driver, hub, repo, tmp_path):
    there, homes = repo(), [tmp_path / "one", tmp_path / "two"]
    call = ("fetch", {"reference": there.name})
    for home, offline in zip(homes, (False, True), strict=True):
        home.mkdir()
        with mirroring(hub, tmp_path, offline) as mirror:
            hub.log.clear()
            result = driver.calls(mirror, home, call)[0]
            assert result["revision"] == there.commit
            assert (hub.requests(there) == []) is offline
