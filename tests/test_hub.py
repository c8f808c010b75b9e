"""Every fault on the way to the Hub, with the genuine client in a process of its own.

The Hub is `loopback_hub`. `slow` tests wait for the client's own back-off.
"""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from loopback_hub import GOOD_TOKEN, GRANTED_TOKEN, LoopbackHub, Repo, git_sha1, sha256

TESTS = Path(__file__).parent
CONFIG = json.dumps({"model_type": "vit", "id2label": {"0": "daisy"}}).encode()
WEIGHTS = bytes(range(256)) * 1200
FILES = {
    "config.json": CONFIG,
    "preprocessor_config.json": b'{"size": 32}',
    "model.safetensors": WEIGHTS,
    "README.md": b"# A flower classifier",
    "modeling_flowers.py": b"raise SystemExit('this was run')",
}
FETCHED = {"config.json", "preprocessor_config.json", "model.safetensors"}
API_SECONDS, AT_ONCE_SECONDS = 10, 4  # where the client itself would take 23
MIRROR = """
[basic]
host = "127.0.0.1"
port = {port}
repos-path = "{folder}/repos"
hf-scheme = "http"
hf-netloc = "127.0.0.1:{hub}"
hf-lfs-netloc = "localhost:{hub}"
mirror-scheme = "http"
mirror-netloc = "127.0.0.1:{port}"
mirror-lfs-netloc = "127.0.0.1:{port}"
metadata-cache-ttl = 0

[accessibility]
offline = {offline}
"""

Result = dict[str, Any]


class Driver:
    """Makes calls of the hub room in a fresh process, and looks at what that printed."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "fetch_once.py")],
            env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def calls(
        self, endpoint: str, home: Path, *calls: tuple[str, dict[str, Any]], **env: str
    ) -> list[Result]:
        stderr = home / "stderr"
        job = {
            "env": {"PATH": os.environ["PATH"], "HOME": str(home), "HF_HOME": str(home / "hf")}
            | {"HF_ENDPOINT": endpoint}
            | env,
            "calls": calls,
            "stderr": str(stderr),
        }
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert stderr.read_text() == ""
        return json.loads(line)

    def stop(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.stop()


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@contextmanager
def mirroring(hub: LoopbackHub, folder: Path, offline: bool = False) -> Iterator[str]:
    """An independent mirror of the Hub's protocol, between the client and the loopback server."""
    if importlib.util.find_spec("olah") is None:
        pytest.skip("olah is not installed; pip install -r requirements-dev.txt")
    port, settings = closed_port(), folder / f"offline-{offline}.toml"
    switch = str(offline).lower()
    settings.write_text(MIRROR.format(folder=folder, port=port, hub=hub.port, offline=switch))
    code = "from olah.server import cli; cli()"
    arguments = ["--config", str(settings), "--log-path", str(folder / "logs")]
    with settings.with_suffix(".output").open("w") as output:
        command = [sys.executable, "-c", code, *arguments]
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        deadline = monotonic() + 60
        while not is_open(port) and process.poll() is None and monotonic() < deadline:
            sleep(0.1)
        assert is_open(port), settings.with_suffix(".output").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def mirror(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mirroring(hub, tmp_path_factory.mktemp("mirror")) as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(request: pytest.FixtureRequest, hub: LoopbackHub) -> str:
    """The loopback Hub itself, unless `also_mirrored` asks for the mirror in front of it."""
    mirrored = getattr(request, "param", "hub") == "mirror"
    return request.getfixturevalue("mirror") if mirrored else hub.endpoint


also_mirrored = pytest.mark.parametrize(
    "endpoint", ["hub", pytest.param("mirror", marks=pytest.mark.slow)], indirect=True
)


@pytest.fixture
def fetch(driver: Driver, endpoint: str, tmp_path: Path) -> Callable[..., Result]:
    def fetch(reference: str, env: dict[str, str] | None = None, **options: Any) -> Result:
        call = ("fetch", {"reference": reference, **options})
        return driver.calls(endpoint, tmp_path, call, **(env or {}))[0]

    return fetch


@pytest.fixture
def repo(hub: LoopbackHub, request: pytest.FixtureRequest) -> Callable[..., Repo]:
    """Add a repository with a name of the test's own."""
    name = "-".join(re.findall("[a-z0-9]+", request.node.name.lower().replace("_", "-")))[:80]

    def repo(files: dict[str, bytes] = FILES, **knobs: Any) -> Repo:
        return hub.add(f"ann/{name.strip('-')}", files, **knobs)

    return repo


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def one_sentence(result: Result, kind: str, *parts: str) -> None:
    """An error of this kind, on one line that says all these things, and quickly."""
    assert result.get("error") == kind, result
    message = result["message"]
    assert "\n" not in message
    assert message.endswith(".")
    assert "Traceback" not in message
    for part in parts:
        assert part in message


# Here at last


@also_mirrored
def test_a_checkpoint_arrives_whole_with_its_commit_and_nothing_else(fetch, repo, hub):
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


@pytest.mark.parametrize("knob", [{"api_status": 503}, {"api_status": 429}, {"api_text": "<p>"}])
def test_a_hub_that_fails_does_not_hide_the_cache(fetch, repo, knob):
    there = repo()
    fetch(there.name)
    for name, value in knob.items():
        setattr(there, name, value)
    result = fetch(there.name)
    assert result["revision"] == there.commit
    assert result["seconds"] < AT_ONCE_SECONDS


def test_a_branch_whose_new_weights_do_not_come_stays_where_it_was(fetch, repo):
    there = repo()
    before = fetch(there.name)["revision"]
    there.files = FILES | {"model.safetensors": WEIGHTS[::-1]}
    there.damaged = 2
    one_sentence(fetch(there.name), "DamagedError")
    assert fetch(there.name, env={"HF_HUB_OFFLINE": "1"})["revision"] == before


@also_mirrored
def test_a_repository_without_a_processor_is_whole_without_it(fetch, repo, hub):
    there = repo({name: FILES[name] for name in ("config.json", "model.safetensors")})
    fetch(there.name)
    hub.log.clear()
    assert fetch(f"{there.name}@{there.commit}")["revision"] == there.commit
    assert hub.requests(there) == []


def test_a_copy_that_may_lack_its_preprocessing_is_not_whole(fetch, repo):
    there = repo()
    folder = Path(fetch(there.name)["folder"])
    (folder / "preprocessor_config.json").unlink()
    result = fetch(there.name, env={"HF_HUB_OFFLINE": "1"})
    one_sentence(result, "UnreachableError", "no whole copy")
    assert set(fetch(there.name)["files"]) == FETCHED


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


def test_a_token_is_also_read_where_logging_in_leaves_it(fetch, repo, tmp_path):
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
    one_sentence(fetch(there.name, limit=100_000), "CheckpointError", "at most 0 MB", "limit")
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
        ("model.safetensors", {"model.safetensors.index.json": b"{}"}, ("split",)),
        ("model.safetensors", {"pytorch_model.bin": WEIGHTS}, ("pickled", "allow pickles")),
    ],
)
def test_files_that_cannot_be_used(fetch, repo, missing, added, parts):
    there = repo({name: data for name, data in FILES.items() if name != missing} | added)
    one_sentence(fetch(there.name), "UnsupportedError", there.name, *parts)


@also_mirrored
def test_pickled_weights_come_when_asked_for(fetch, repo):
    there = repo({"config.json": CONFIG, "pytorch_model.bin": WEIGHTS})
    assert "pytorch_model.bin" in fetch(there.name, allow_pickle=True)["files"]


def test_a_configuration_that_is_no_json(fetch, repo):
    one_sentence(fetch(repo(FILES | {"config.json": b"{"}).name), "CheckpointError", "config.json")


@also_mirrored
def test_a_file_that_is_listed_and_not_there(fetch, repo):
    there = repo(lost=("model.safetensors",))
    one_sentence(fetch(there.name), "CheckpointError", there.name, "does not have")


@pytest.mark.parametrize(
    "text", ["", "vit", "a/b/c", "../x", "a/../b", "a--b/c", "a/b@", "a/b@../x", "a/b@x y", "a/-b",
             "https://huggingface.co/a/b", "a/b.git", "ä/b", "a/b@c@d", "a/b@/x", "a/" + "b" * 95]
)  # fmt: skip
def test_what_is_no_reference(text):
    from vit_demo.checkpoints.hub import HubReference
    from vit_demo.errors import CheckpointError

    with pytest.raises(CheckpointError, match="write"):
        HubReference.parse(text)


@pytest.mark.parametrize(
    "text", ["google/vit-base-patch16-224", "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
             "a/b@v1.0", "a/b@refs/pr/12", "1aurent/x_", "a/b@" + "c" * 40]
)  # fmt: skip
def test_what_is_a_reference(text):
    from vit_demo.checkpoints.hub import HubReference

    assert str(HubReference.parse(text)) == text


# Damaged on the way


def test_a_body_that_breaks_off_is_resumed(fetch, repo, hub):
    piece = 10 * 2**20  # the client keeps what it has in pieces of this size
    large = bytes(piece + 2000)
    there = repo(FILES | {"model.safetensors": large}, cuts=[piece + 1000])
    assert fetch(there.name)["files"]["model.safetensors"] == len(large)
    ranges = [r.range for r in hub.requests(there, "GET") if "/large/" in r.path]
    assert ranges == [None, f"bytes={piece}-"]


def test_a_short_body_that_breaks_off_begins_again(fetch, repo, hub):
    there = repo(cuts=[1000])
    assert fetch(there.name)["files"]["model.safetensors"] == len(WEIGHTS)
    ranges = [r.range for r in hub.requests(there, "GET") if "/large/" in r.path]
    assert ranges == [None, None]


@pytest.mark.parametrize("knob", ["damaged", "shortened"])
def test_a_damaged_body_is_fetched_again(fetch, repo, knob):
    result = fetch(repo(**{knob: 1}).name)
    assert Path(result["folder"], "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("knob", ["damaged", "shortened"])
def test_a_body_that_stays_damaged_is_reported_and_removed(fetch, repo, tmp_path, knob):
    there = repo(**{knob: 2})
    one_sentence(fetch(there.name), "DamagedError", there.name, "2 times")
    assert not list(tmp_path.rglob("model.safetensors"))
    assert not list(tmp_path.rglob(f"blobs/{sha256(WEIGHTS)}*"))
    assert fetch(there.name)["files"]["model.safetensors"] == len(WEIGHTS)


def test_a_body_that_does_not_end_is_broken_off(fetch, repo, tmp_path):
    there = repo(extra=bytes(30_000_000))
    one_sentence(fetch(there.name), "DamagedError", "more than")
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) < 1_000_000


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("pinned", [False, True])
def test_a_file_that_rots_in_the_cache_is_healed(fetch, repo, name, pinned):
    there = repo()
    reference = f"{there.name}@{there.commit}" if pinned else there.name
    rotten = Path(fetch(reference)["folder"], name)
    rotten.write_bytes(b" " + rotten.read_bytes()[1:])
    result = fetch(reference)
    assert Path(result["folder"], name).read_bytes() == FILES[name]


def test_a_file_that_rots_in_the_cache_is_not_used_offline(fetch, repo):
    there = repo()
    Path(fetch(there.name)["folder"], "model.safetensors").write_bytes(WEIGHTS[::-1])
    result = fetch(there.name, env={"HF_HUB_OFFLINE": "1"})
    one_sentence(result, "UnreachableError", "no whole copy", there.name)


# Nobody there


def test_offline_and_not_cached(driver, hub, repo, tmp_path):
    there = repo()
    offline = {"HF_HUB_OFFLINE": "1"}
    call = ("fetch", {"reference": "ann/elsewhere"})
    hub.log.clear()
    empty = driver.calls(hub.endpoint, tmp_path, call, **offline)[0]
    one_sentence(empty, "UnreachableError", "HF_HUB_OFFLINE", "nothing else")
    assert hub.log == []
    driver.calls(hub.endpoint, tmp_path, ("fetch", {"reference": there.name}))
    result = driver.calls(hub.endpoint, tmp_path, call, **offline)[0]
    one_sentence(result, "UnreachableError", f"works offline: {there.name}")


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
def test_an_endpoint_that_is_no_address(driver, tmp_path, endpoint):
    result = driver.calls(endpoint, tmp_path, ("fetch", {"reference": "a/b"}))[0]
    one_sentence(result, "UnreachableError", endpoint, "correct HF_ENDPOINT")


@pytest.mark.parametrize("text", ["<p>Please log in</p>", "[]", "{}", '{"id": 3, "sha": 4}'])
def test_what_answers_is_no_hub(fetch, repo, text):
    one_sentence(fetch(repo(api_text=text).name), "UnreachableError", "not a Hub")


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_a_busy_hub(fetch, repo, status):
    result = fetch(repo(api_status=status, retry_after="300").name)
    one_sentence(result, "UnreachableError", f"answered {status}")
    assert result["seconds"] < AT_ONCE_SECONDS


def test_a_hub_that_does_not_answer(fetch, repo):
    result = fetch(repo(api_seconds=60).name)
    one_sentence(result, "UnreachableError", "did not answer in time")
    assert result["seconds"] < API_SECONDS


def test_a_cache_that_cannot_be_written(fetch, repo, tmp_path):
    (tmp_path / "hf").write_text("a file where the folder should be")
    one_sentence(fetch(repo().name), "CheckpointError", "cache", "HF_HOME")


def test_names_of_files_are_never_taken_from_the_network(fetch, repo, hub, tmp_path):
    there = repo(FILES | {"../../escaped.json": b"{}", "/etc/escaped": b""})
    assert set(fetch(there.name)["files"]) == FETCHED
    assert not list(tmp_path.rglob("*escaped*"))


# Stopped


@pytest.mark.parametrize("knob", [{"api_seconds": 20}, {"pause": 3.0}, {"head_status": 503}])
def test_stopping_takes_effect_at_once(fetch, repo, knob):
    result = fetch(repo(**knob).name, cancel_after=0.7)
    one_sentence(result, "CancelledError", "stopped")
    assert result["seconds"] < AT_ONCE_SECONDS


# The search


def test_a_search_finds_classifiers_of_these_families(driver, hub, tmp_path):
    hub.add("eve/tulips-vit", FILES)
    hub.add("eve/tulips-resnet", FILES, tags=("resnet",))
    hub.add("eve/tulips--bad", FILES)
    result = driver.calls(hub.endpoint, tmp_path, ("search", {"query": "tulips", "limit": 5}))[0]
    assert result["found"] == [["eve/tulips-vit", "apache-2.0", 7]]
    path = next(r.path for r in hub.log if r.path.startswith("/api/models?"))
    assert "pipeline_tag=image-classification" in path


def test_a_search_without_a_network_says_so(driver, hub, tmp_path):
    search = ("search", {"query": "orchids"})
    dead = f"http://127.0.0.1:{closed_port()}"
    one_sentence(driver.calls(dead, tmp_path, search)[0], "UnreachableError", "refuses", "search")
    hub.add("eve/orchids", FILES, api_status=503)
    busy = driver.calls(hub.endpoint, tmp_path, search)[0]
    one_sentence(busy, "UnreachableError", "answered 503")


# The client's own patience


@pytest.mark.slow
def test_a_search_that_is_not_answered_ends(driver, hub, tmp_path):
    hub.add("eve/lilies", FILES, api_seconds=60)
    slow = driver.calls(hub.endpoint, tmp_path, ("search", {"query": "lilies"}))[0]
    one_sentence(slow, "UnreachableError", "in time")
    assert slow["seconds"] < API_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 503])
def test_files_that_do_not_come_although_they_are_listed(fetch, repo, status):
    result = fetch(repo(head_status=status).name)
    one_sentence(result, "UnreachableError", f"answered {status}")
    assert 20 < result["seconds"] < 32


@pytest.mark.slow
def test_a_server_that_asks_for_five_minutes_is_not_waited_for(fetch, repo):
    result = fetch(repo(head_status=429, retry_after="300").name)
    one_sentence(result, "UnreachableError", "in time")
    assert result["seconds"] < 32


@pytest.mark.slow
def test_a_body_that_never_begins(fetch, repo):
    result = fetch(repo(cut_always=0).name)
    one_sentence(result, "UnreachableError", "broke the connection off")
    assert result["seconds"] < 15


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
def test_what_a_mirror_keeps_damaged_is_reported(driver, mirror, repo, tmp_path):
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
