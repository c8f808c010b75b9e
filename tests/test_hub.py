"""Checkpoints are downloaded from the Hub or found in the cache, and can be searched."""

import json
from pathlib import Path

import pytest
from hub_driver import (
    AT_ONCE_SECONDS,
    FETCHED,
    FILES,
    WEIGHTS,
    also_mirrored,
    closed_port,
    one_sentence,
)
from loopback_hub import GOOD_TOKEN

# Here at last


@also_mirrored
def test_a_checkpoint_is_downloaded_completely_with_its_commit_and_nothing_else(fetch, repo, hub):
    there = repo()
    result = fetch(there.name)
    assert result["revision"] == there.commit
    assert set(result["files"]) == FETCHED
    assert Path(result["folder"], "model.safetensors").read_bytes() == WEIGHTS
    assert "modeling_flowers" not in "".join(r.path for r in hub.requests(there))


def test_the_listing_comes_first_and_the_weights_last(fetch, repo, hub):
    there = repo()
    fetch(there.name)
    paths = [request.path for request in hub.requests(there)]
    assert paths[0] == f"/api/models/{there.name}/revision/main?blobs=true"
    assert "config.json" in paths[1]
    assert "model.safetensors" in paths[-1]


@also_mirrored
def test_progress_names_each_file_and_ends_at_its_size(fetch, repo):
    progress = fetch(repo().name)["progress"]
    last = {name: (done, total) for name, done, total in progress}
    assert last == {name: (len(FILES[name]), len(FILES[name])) for name in FETCHED}
    assert all(done <= total for _, done, total in progress)


def test_a_token_is_never_sent_to_the_host_of_the_large_files(fetch, repo, hub):
    there = repo()
    fetch(there.name, env={"HF_TOKEN": GOOD_TOKEN})
    tokens = {request.path.startswith("/large/"): request.token for request in hub.requests(there)}
    assert tokens == {False: GOOD_TOKEN, True: None}


def test_a_renamed_repository_is_found_under_its_old_name(fetch, repo, hub):
    there = repo()
    hub.add("ann/old-name", {}, renamed_to=there.name)
    assert fetch("ann/old-name")["revision"] == there.commit


# From the cache


@also_mirrored
def test_a_pinned_commit_in_the_cache_costs_no_request(fetch, repo, hub):
    there = repo()
    fetch(there.name)
    hub.log.clear()
    result = fetch(f"{there.name}@{there.commit}")
    assert result["revision"] == there.commit
    assert hub.requests(there) == []


def test_a_branch_in_the_cache_costs_one_request(fetch, repo, hub):
    there = repo()
    fetch(there.name)
    hub.log.clear()
    assert fetch(there.name)["revision"] == there.commit
    assert len(hub.requests(there)) == 1


@also_mirrored
def test_a_branch_that_moved_is_fetched_again(fetch, repo):
    there = repo()
    before = fetch(there.name)["revision"]
    there.files = FILES | {"model.safetensors": WEIGHTS[::-1]}
    after = fetch(there.name)
    assert after["revision"] == there.commit != before
    assert Path(after["folder"], "model.safetensors").read_bytes() == WEIGHTS[::-1]


def test_offline_mode_reads_the_cache_without_a_request(fetch, repo, hub):
    there = repo()
    fetch(there.name)
    hub.log.clear()
    assert fetch(there.name, env={"HF_HUB_OFFLINE": "1"})["revision"] == there.commit
    assert hub.requests(there) == []


@pytest.mark.parametrize(
    "behavior", [{"api_status": 503}, {"api_status": 429}, {"api_text": "<p>"}]
)
def test_a_hub_that_fails_does_not_hide_the_cache(fetch, repo, behavior):
    there = repo()
    fetch(there.name)
    for name, value in behavior.items():
        setattr(there, name, value)
    result = fetch(there.name)
    assert result["revision"] == there.commit
    assert result["seconds"] < AT_ONCE_SECONDS


def test_a_branch_is_not_updated_if_the_new_weights_fail(fetch, repo):
    there = repo()
    before = fetch(there.name)["revision"]
    there.files = FILES | {"model.safetensors": WEIGHTS[::-1]}
    there.damaged = 2
    one_sentence(fetch(there.name), "DamagedError")
    assert fetch(there.name, env={"HF_HUB_OFFLINE": "1"})["revision"] == before


@also_mirrored
def test_a_repository_without_a_processor_is_complete_without_it(fetch, repo, hub):
    there = repo({name: FILES[name] for name in ("config.json", "model.safetensors")})
    fetch(there.name)
    hub.log.clear()
    assert fetch(f"{there.name}@{there.commit}")["revision"] == there.commit
    assert hub.requests(there) == []


def test_a_copy_that_may_lack_its_preprocessing_is_used_only_where_nobody_can_be_asked(fetch, repo):
    """As of any folder without that file, the reader then says that it guesses."""
    there = repo()
    folder = Path(fetch(there.name)["folder"])
    (folder / "preprocessor_config.json").unlink()
    result = fetch(there.name, env={"HF_HUB_OFFLINE": "1"})
    assert set(result["files"]) == FETCHED - {"preprocessor_config.json"}
    assert set(fetch(f"{there.name}@{there.commit}")["files"]) == FETCHED


def test_weights_in_parts_come_with_their_index_and_work_offline(fetch, repo):
    parts = {f"model-0000{number}-of-00002.safetensors": WEIGHTS for number in (1, 2)}
    index = json.dumps({"weight_map": dict(zip("ab", parts, strict=True))}).encode()
    files = {name: data for name, data in FILES.items() if name != "model.safetensors"}
    there = repo({**files, **parts, "model.safetensors.index.json": index})
    wanted = (FETCHED - {"model.safetensors"}) | {*parts, "model.safetensors.index.json"}
    result = fetch(there.name)
    assert set(result["files"]) == wanted
    (Path(result["folder"]) / next(iter(parts))).unlink()
    one_sentence(fetch(there.name, env={"HF_HUB_OFFLINE": "1"}), "UnreachableError", "no complete")


def test_an_index_that_names_no_listed_file_is_refused(fetch, repo):
    index = json.dumps({"weight_map": {"a": "../other.safetensors"}}).encode()
    files = {name: data for name, data in FILES.items() if name != "model.safetensors"}
    there = repo({**files, "model.safetensors.index.json": index})
    one_sentence(fetch(there.name), "CheckpointError", "no file of weights beside it")


def test_cached_lists_what_works_offline(driver, hub, repo, tmp_path):
    there = repo()
    other = hub.add("ann/other-family", FILES | {"config.json": b'{"model_type": "bert"}'})
    half = hub.add("ann/half", FILES, damaged=2)
    bob = hub.add("bob/pinned", FILES)
    results = driver.calls(
        hub.endpoint,
        tmp_path,
        ("cached", {}),
        ("fetch", {"reference": there.name}),
        ("fetch", {"reference": other.name}),
        ("fetch", {"reference": half.name}),
        ("fetch", {"reference": f"{bob.name}@{bob.commit}"}),
        ("cached", {}),
    )
    assert results[0]["cached"] == []
    assert results[-1]["cached"] == [
        [there.name, there.commit],
        [f"{bob.name}@{bob.commit}", bob.commit],
    ]


# The search


def test_a_search_finds_classifiers_of_these_families(driver, hub, tmp_path):
    hub.add("eve/tulips-vit", FILES)
    hub.add("eve/tulips-resnet", FILES, tags=("resnet",))
    hub.add("eve/tulips--bad", FILES)
    result = driver.calls(hub.endpoint, tmp_path, ("search", {"query": "tulips", "limit": 5}))[0]
    assert result["found"] == [["eve/tulips-vit", "apache-2.0", 7]]
    path = next(r.path for r in hub.log if r.path.startswith("/api/models?"))
    assert "pipeline_tag=image-classification" in path


def test_a_search_without_a_network_is_reported(driver, hub, tmp_path):
    search = ("search", {"query": "orchids"})
    dead = f"http://127.0.0.1:{closed_port()}"
    one_sentence(driver.calls(dead, tmp_path, search)[0], "UnreachableError", "refuses", "search")
    hub.add("eve/orchids", FILES, api_status=503)
    busy = driver.calls(hub.endpoint, tmp_path, search)[0]
    one_sentence(busy, "UnreachableError", "answered 503")
