"""Every refusal and every failure of the Hub is one sentence with the next step."""

import pytest
from hub_driver import (
    API_SECONDS,
    AT_ONCE_SECONDS,
    CONFIG,
    FETCHED,
    FILES,
    WEIGHTS,
    also_mirrored,
    closed_port,
    one_sentence,
)
from loopback_hub import GOOD_TOKEN, GRANTED_TOKEN

from vit_demo.checkpoints.hub.client import ANSWER_SECONDS

# Refused


@also_mirrored
@pytest.mark.parametrize("token", ["", GOOD_TOKEN])
def test_no_such_repository(fetch, token):
    result = fetch("ann/nothing-here", env={"HF_TOKEN": token})
    one_sentence(result, "NotFoundError", "'ann/nothing-here'", "spelling", "hf auth login")
    assert result["seconds"] < API_SECONDS


@also_mirrored
def test_private(fetch, repo):
    there = repo(private=True)
    one_sentence(fetch(there.name), "NotFoundError", there.name, "private", "hf auth login")
    assert fetch(there.name, env={"HF_TOKEN": GOOD_TOKEN})["revision"] == there.commit


def test_a_token_stored_by_logging_in_is_used(fetch, repo, tmp_path):
    there = repo(private=True)
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(GOOD_TOKEN)
    assert fetch(there.name)["revision"] == there.commit


@also_mirrored
@pytest.mark.parametrize("token", ["", GOOD_TOKEN])
def test_gated(fetch, repo, token):
    there = repo(gated=True)
    result = fetch(there.name, env={"HF_TOKEN": token})
    one_sentence(result, "AccessError", f"{there.name} is gated", "accept", "hf auth login")
    assert fetch(there.name, env={"HF_TOKEN": GRANTED_TOKEN})["revision"] == there.commit


def test_bad_token(fetch, repo):
    result = fetch(repo().name, env={"HF_TOKEN": "hf_expired"})
    one_sentence(result, "AccessError", "token", "hf auth login", "unset HF_TOKEN")


def test_disabled(fetch, repo):
    one_sentence(fetch(repo(disabled=True).name), "AccessError", "disabled")


@pytest.mark.parametrize("revision", ["v9", "0" * 40, "refs/pr/1"])
def test_no_such_revision(fetch, repo, revision):
    result = fetch(f"{repo().name}@{revision}")
    one_sentence(result, "NotFoundError", f"no revision '{revision}'", "leave out")


@also_mirrored
def test_another_family_is_refused_before_its_weights(fetch, repo, hub):
    there = repo(FILES | {"config.json": b'{"model_type": "bert"}'})
    one_sentence(fetch(there.name), "UnsupportedError", "bert", "ViT")
    assert not [r for r in hub.requests(there) if "safetensors" in r.path]


@also_mirrored
def test_too_large_is_refused_before_its_weights(fetch, repo, hub):
    there = repo()
    one_sentence(
        fetch(there.name, limit=100_000), "CheckpointError", "at most 0 MB", "VIT_DEMO_DOWNLOAD_MB"
    )
    assert not [r for r in hub.requests(there) if "/large/" in r.path]


def test_an_enormous_configuration_is_refused(fetch, repo, hub):
    there = repo(FILES | {"config.json": b" " * 10_000_001})
    one_sentence(fetch(there.name), "CheckpointError", "10,000,001 bytes")
    assert len(hub.requests(there)) == 1


@also_mirrored
@pytest.mark.parametrize(
    ("missing", "added", "parts"),
    [
        ("config.json", {}, ("no config.json",)),
        ("model.safetensors", {}, ("no model.safetensors",)),
        ("model.safetensors", {"pytorch_model.bin": WEIGHTS}, ("pickled", "--allow-pickle")),
    ],
)
def test_files_that_cannot_be_used(fetch, repo, missing, added, parts):
    there = repo({name: data for name, data in FILES.items() if name != missing} | added)
    one_sentence(fetch(there.name), "UnsupportedError", there.name, *parts)


@also_mirrored
def test_pickled_weights_are_downloaded_on_request(fetch, repo):
    there = repo({"config.json": CONFIG, "pytorch_model.bin": WEIGHTS})
    assert "pytorch_model.bin" in fetch(there.name, allow_pickle=True)["files"]


def test_an_invalid_json_configuration(fetch, repo):
    one_sentence(fetch(repo(FILES | {"config.json": b"{"}).name), "CheckpointError", "config.json")


@also_mirrored
def test_a_listed_file_that_does_not_exist(fetch, repo):
    there = repo(lost=("model.safetensors",))
    one_sentence(fetch(there.name), "CheckpointError", there.name, "does not have")


@pytest.mark.parametrize(
    "text", ["", "vit", "a/b/c", "../x", "a/../b", "a--b/c", "a/b@", "a/b@../x", "a/b@x y", "a/-b",
             "https://huggingface.co/a/b", "a/b.git", "ä/b", "a/b@c@d", "a/b@/x", "a/" + "b" * 95]
)  # fmt: skip
def test_invalid_references(text):
    from vit_demo.checkpoints.hub import HubReference
    from vit_demo.errors import CheckpointError

    with pytest.raises(CheckpointError, match="write"):
        HubReference.parse(text)


@pytest.mark.parametrize(
    "text", ["google/vit-base-patch16-224", "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
             "a/b@v1.0", "a/b@refs/pr/12", "1aurent/x_", "a/b@" + "c" * 40]
)  # fmt: skip
def test_valid_references(text):
    from vit_demo.checkpoints.hub import HubReference

    assert str(HubReference.parse(text)) == text


# Nobody there


def test_offline_and_not_cached(driver, hub, repo, tmp_path):
    there = repo()
    offline = {"HF_HUB_OFFLINE": "1"}
    call = ("fetch", {"reference": "ann/elsewhere"})
    hub.log.clear()
    empty = driver.calls(hub.endpoint, tmp_path, call, **offline)[0]
    one_sentence(empty, "UnreachableError", "HF_HUB_OFFLINE", "works offline: flowers.")
    assert hub.log == []
    driver.calls(hub.endpoint, tmp_path, ("fetch", {"reference": there.name}))
    result = driver.calls(hub.endpoint, tmp_path, call, **offline)[0]
    one_sentence(result, "UnreachableError", f"works offline: flowers, {there.name}.")


def test_connection_refused(driver, hub, repo, tmp_path):
    dead = f"http://127.0.0.1:{closed_port()}"
    there = repo()
    call = ("fetch", {"reference": there.name})
    result = driver.calls(dead, tmp_path, call)[0]
    one_sentence(result, "UnreachableError", f"{dead} refuses", "China", "HF_ENDPOINT")
    assert result["seconds"] < AT_ONCE_SECONDS
    driver.calls(hub.endpoint, tmp_path, call)
    assert driver.calls(dead, tmp_path, call)[0]["revision"] == there.commit


def test_no_network(driver, tmp_path):
    nowhere = "http://hub.invalid"
    result = driver.calls(nowhere, tmp_path, ("fetch", {"reference": "a/b"}))[0]
    one_sentence(result, "UnreachableError", f"address of {nowhere}", "China", "HF_ENDPOINT")
    assert result["seconds"] < API_SECONDS


@pytest.mark.parametrize("endpoint", ["hf-mirror.example", "ftp://mirror.example", "https:"])
def test_an_endpoint_that_is_not_a_web_address(driver, tmp_path, endpoint):
    result = driver.calls(endpoint, tmp_path, ("fetch", {"reference": "a/b"}))[0]
    one_sentence(result, "UnreachableError", endpoint, "correct HF_ENDPOINT")


@pytest.mark.parametrize("text", ["<p>Please log in</p>", "[]", "{}", '{"id": 3, "sha": 4}'])
def test_the_server_is_not_a_hub(fetch, repo, text):
    one_sentence(fetch(repo(api_text=text).name), "UnreachableError", "not a Hub")


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_a_busy_hub(fetch, repo, status):
    result = fetch(repo(api_status=status, retry_after="300").name)
    one_sentence(result, "UnreachableError", f"answered {status}")
    assert result["seconds"] < AT_ONCE_SECONDS


def test_a_hub_that_does_not_answer(fetch, repo):
    result = fetch(repo(api_seconds=60).name, waits={"ANSWER_SECONDS": 1})
    one_sentence(result, "UnreachableError", "did not answer in time")
    assert 1 <= result["seconds"] < 1 + API_SECONDS - ANSWER_SECONDS


def test_a_cache_that_cannot_be_written(fetch, repo, tmp_path):
    (tmp_path / "hf").write_text("a file where the folder should be")
    one_sentence(fetch(repo().name), "CheckpointError", "cache", "HF_HOME")


def test_names_of_files_are_never_taken_from_the_network(fetch, repo, hub, tmp_path):
    there = repo(FILES | {"../../escaped.json": b"{}", "/etc/escaped": b""})
    assert set(fetch(there.name)["files"]) == FETCHED
    assert not list(tmp_path.rglob("*escaped*"))
