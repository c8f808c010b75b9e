"""The real client in a process of its own, and the Hubs that it talks to.

The Hub is `loopback_hub`; `also_mirrored` puts an independent mirror in front of it.
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
from loopback_hub import LoopbackHub, Repo

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
    """Calls functions of `checkpoints.hub` in a fresh process, and reads its output."""

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
    """Add a repository with a name that is unique to the test."""
    name = "-".join(re.findall("[a-z0-9]+", request.node.name.lower().replace("_", "-")))[:80]

    def repo(files: dict[str, bytes] = FILES, **declared_options: Any) -> Repo:
        return hub.add(f"ann/{name.strip('-')}", files, **declared_options)

    return repo


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def one_sentence(result: Result, kind: str, *parts: str) -> None:
    """Check that an error has this class, is one line with all these words, and came quickly."""
    assert result.get("error") == kind, result
    message = result["message"]
    assert "\n" not in message
    assert message.endswith(".")
    assert "Traceback" not in message
    for part in parts:
        assert part in message
