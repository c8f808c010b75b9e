"""`checkpoints.hub` in a process of its own, because its client reads the environment once.

    echo '{"env": {"HF_ENDPOINT": …}, "stderr": "errors.txt", "calls": [["cached", {}]]}' \
        | PYTHONPATH=. python tests/fetch_once.py

Each line of input is a job: a fresh process with that environment makes the calls one after the
other, and one line of output holds their results. Everything is imported before the first job, as
this takes most of the time; then each process has the client read the environment again.

A call may bring "waits": our own limits in seconds (ANSWER_SECONDS, START_SECONDS) instead of those
of the app, and "skip_sleeps": what the client sleeps between its attempts is noted, not slept.
"""

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from threading import Event, Timer
from time import monotonic, sleep
from typing import Any

import torch
from huggingface_hub import constants

from vit_demo.checkpoints import hub, load
from vit_demo.checkpoints.hf_format import check_family
from vit_demo.errors import DemoError
from vit_demo.settings import Settings

SHORTEST_SLEEP = 0.01  # seconds; enough to let other threads run


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _work(job)
        os.waitpid(child, 0)
        sys.stdout.write("\n")
        sys.stdout.flush()


def _work(job: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(job["env"])
    errors = os.open(job["stderr"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(errors, 2)
    _read_environment()
    try:
        results = [_call(name, arguments) for name, arguments in job["calls"]]
        sys.stdout.write(json.dumps(results))
        sys.stdout.flush()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _read_environment() -> None:
    """Set a constant of the client in every module that has imported it."""
    before = {name: value for name, value in vars(constants).items() if name.isupper()}
    importlib.reload(constants)
    for name, module in list(sys.modules.items()):
        if not name.startswith("huggingface_hub"):
            continue
        for constant in before.keys() & vars(module).keys():
            if vars(module)[constant] is before[constant]:
                setattr(module, constant, getattr(constants, constant))


def _call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    seen: list[tuple[str, int, int]] = []
    for limit, seconds in arguments.pop("waits", {}).items():
        setattr(hub.client, limit, seconds)
    slept = _skip_sleeps() if arguments.pop("skip_sleeps", False) else []
    started, read_before = monotonic(), _bytes_read()
    result: dict[str, Any] = {}
    try:
        match name:
            case "fetch":
                result = _fetch(hub, seen, **arguments)
            case "cached":
                names = [[str(s.reference), s.revision] for s in hub.cached(_accept)]
                result = {"cached": names}
            case "search":
                found = hub.search(**arguments)
                result = {"found": [[str(f.reference), f.license, f.downloads] for f in found]}
            case "publish":
                result = _publish(**arguments)
            case "logits":
                result = _logits(**arguments)
    except DemoError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    measured = {"seconds": monotonic() - started, "bytes_read": _bytes_read() - read_before}
    return result | measured | {"progress": seen, "slept": slept}


def _skip_sleeps() -> list[float]:
    """Replace sleep in this process; returns the requested seconds."""
    slept: list[float] = []

    def note(seconds: float) -> None:
        if seconds >= 1:  # shorter ones are those of the locks of files
            slept.append(seconds)
        sleep(min(seconds, SHORTEST_SLEEP))

    time.sleep = note
    return slept


def _bytes_read() -> int:
    """Bytes that this process has read from files and the network; 0 if the system has no count."""
    counters = Path("/proc/self/io")
    if not counters.exists():
        return 0
    lines = dict(line.split(": ") for line in counters.read_text().splitlines())
    return int(lines["rchar"])


def _fetch(hub: Any, seen: list[tuple[str, int, int]], **arguments: Any) -> dict[str, Any]:
    cancelled = Event()
    if "cancel_after" in arguments:
        Timer(arguments.pop("cancel_after"), cancelled.set).start()
    snapshot = hub.fetch(
        hub.HubReference.parse(arguments.pop("reference")),
        _accept,
        lambda *progress: seen.append(progress),
        cancelled=cancelled,
        **{"limit": Settings().download_bytes, **arguments},
    )
    files = {path.name: path.stat().st_size for path in snapshot.folder.iterdir()}
    return {"folder": str(snapshot.folder), "revision": snapshot.revision, "files": files}


def _publish(folder: str, name: str, private: bool = False) -> dict[str, Any]:
    from vit_demo.publishing.upload import publish

    return vars(publish(Path(folder), name, private))


def _logits(reference: str) -> dict[str, Any]:
    """The logits of a checkpoint for fixed pixels."""
    checkpoint = load(reference)
    pixels = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    with torch.inference_mode():
        logits = checkpoint.model(pixels)[0].tolist()
    return {"logits": logits, "labels": checkpoint.labels, "revision": checkpoint.revision}


def _accept(config_json: dict[str, Any]) -> None:
    check_family(config_json, "the checkpoint")


if __name__ == "__main__":
    main()
