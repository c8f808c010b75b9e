"""Loaded checkpoints stay within their bound, and nobody's answer changes with another's choice."""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vit_demo.checkpoints import load as load_folder
from vit_demo.checkpoints.cache import CheckpointCache
from vit_demo.errors import NotFoundError


@pytest.fixture
def checkpoint(our_checkpoint):
    return load_folder(str(our_checkpoint))


@pytest.fixture
def cache_for(checkpoint):
    """A cache with room for so many checkpoints, and the list of what it has loaded."""

    def make(room):
        loaded = []

        def load(ref, progress):
            loaded.append(ref)
            return replace(checkpoint, ref=ref)

        return CheckpointCache(load, int(room * checkpoint.bytes)), loaded

    return make


def test_what_is_kept_is_not_loaded_again(cache_for):
    cache, loaded = cache_for(2)
    assert cache.get("a") is cache.get("a")
    assert loaded == ["a"]


def test_the_longest_unused_goes_when_the_bound_is_passed(cache_for):
    cache, loaded = cache_for(2.5)
    for ref in ("a", "b", "a", "c"):
        cache.get(ref)
    assert cache.kept == ("a", "c")
    cache.get("b")
    assert loaded == ["a", "b", "c", "b"]


def test_one_that_is_larger_than_the_bound_still_works_and_stays_alone(cache_for):
    cache, _ = cache_for(0.5)
    assert cache.get("a").ref == "a"
    assert cache.get("b").ref == "b"
    assert cache.kept == ("b",)


def test_a_loading_that_fails_is_tried_again(checkpoint):
    answers = [NotFoundError("not now"), checkpoint]

    def load(ref, progress):
        answer = answers.pop(0)
        if isinstance(answer, NotFoundError):
            raise answer
        return answer

    cache = CheckpointCache(load, 10)
    with pytest.raises(NotFoundError):
        cache.get("a")
    assert cache.get("a") is checkpoint


def test_two_who_ask_at_once_wait_for_one_loading_and_others_do_not_wait(checkpoint):
    loaded, begun, may_end = [], threading.Event(), threading.Event()

    def load(ref, progress):
        loaded.append(ref)
        if ref == "slow":
            begun.set()
            assert may_end.wait(60)
        return replace(checkpoint, ref=ref)

    cache = CheckpointCache(load, 10 * checkpoint.bytes)
    answers = []
    askers = [threading.Thread(target=lambda: answers.append(cache.get("slow"))) for _ in range(3)]
    for asker in askers:
        asker.start()
    assert begun.wait(60)
    assert cache.get("quick").ref == "quick"
    may_end.set()
    for asker in askers:
        asker.join(60)
    assert loaded == ["slow", "quick"]
    assert [answer.ref for answer in answers] == ["slow"] * 3
    assert len({id(answer) for answer in answers}) == 1


class Interrupted:
    """A lock; when it is let go after a loading, somebody else comes in first."""

    def __init__(self, comes_in):
        self._lock, self._comes_in = threading.Lock(), comes_in

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()
        self._comes_in()


def test_whoever_comes_between_the_loading_and_the_keeping_does_not_load_again(checkpoint):
    loaded, others = [], []

    def load(ref, progress):
        loaded.append(ref)
        return replace(checkpoint, ref=ref)

    def comes_in():
        if loaded and threading.current_thread() is threading.main_thread():
            other = threading.Thread(target=cache.get, args=["a"])
            others.append(other)
            other.start()
            other.join(0.5)  # done, or waiting for the one who loads

    cache = CheckpointCache(load, 10 * checkpoint.bytes)
    cache._lock = Interrupted(comes_in)
    cache.get("a")
    for other in others:
        other.join(60)
    assert others
    assert loaded == ["a"]
    assert not cache._loading


def test_after_a_failure_those_who_waited_still_load_one_after_the_other(checkpoint):
    """The first fails while a second waits; a third who comes then must wait for the second."""
    running, together, first, may_fail = [], [], threading.Event(), threading.Event()

    def load(ref, progress):
        running.append(ref)
        together.append(len(running))
        try:
            if not first.is_set():
                first.set()
                assert may_fail.wait(60)
                raise NotFoundError("not now")
            third.start()
            third.join(0.5)
            return replace(checkpoint, ref=ref)
        finally:
            running.pop()

    def ask():
        with suppress(NotFoundError):
            cache.get("a")

    cache = CheckpointCache(load, 10 * checkpoint.bytes)
    asker, second, third = (threading.Thread(target=ask) for _ in range(3))
    asker.start()
    assert first.wait(60)
    second.start()
    second.join(0.5)  # it waits for the first
    may_fail.set()
    for thread in (asker, second, third):
        thread.join(60)
    assert together == [1, 1]


STATUS = Path("/proc/self/status")

# Every visitor's last result is kept, as the page does; only the checkpoints may go.
CYCLE = """
import json, sys
from pathlib import Path
from vit_demo.checkpoints import CheckpointCache, load
from vit_demo.ui.explorer.rows import Rows
from vit_demo.ui.handlers import Handlers
from vit_demo.ui.results import Results
from vit_demo.ui.uploads import Uploads

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

def cycle(limit):
    cache, shown, sizes = CheckpointCache(lambda ref, progress: load(ref), limit), [], []
    events = Handlers(cache.get, uploads, Results(10**9), Rows(10**9))
    for ref in refs:
        shown.append(events.analyse(photo, ref, "visitor"))
        sizes.append(resident())
    return sizes, (cache, events, shown)

photo, limits, *refs = sys.argv[1:]
uploads = Uploads(Path(photo).parent)
uploads.add_example(photo, Path(photo))
cycles = [cycle(limit) for limit in json.loads(limits)]  # all are kept, so none uses freed memory
print(json.dumps([sizes for sizes, _ in cycles]))
"""


@pytest.mark.skipif(not STATUS.exists(), reason="this system does not say how much is resident")
def test_what_is_evicted_leaves_the_memory(tmp_path, make_model, photo_file):
    """Eight checkpoints of 25 MB in half precision, so 50 MB each once loaded.

    With room for one, the memory stays as it was after the first two; with room for all it grows
    by what they weigh, which shows that the measure sees them.
    """
    from vit_demo.checkpoints import hf_format
    from vit_demo.models.vit import ViTConfig
    from vit_demo.preprocess import Preprocessing

    config = ViTConfig(
        5, width=512, depth=4, heads=2, mlp_width=2048, patch_size=16, image_size=(32, 32)
    )
    model = make_model(config)
    size = sum(parameter.nbytes for parameter in model.parameters())
    labels, squeeze = tuple("abcde"), Preprocessing(resize=(32, 32))
    first = tmp_path / "0"
    hf_format.write(first, config, model.state_dict(), labels, squeeze, torch.float16)
    refs = [first, *(tmp_path / str(number) for number in range(1, 8))]
    for ref in refs[1:]:
        ref.symlink_to(first)

    limits = json.dumps([int(1.5 * size), 100 * size])
    command = [sys.executable, "-c", CYCLE, photo_file, limits, *refs]
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    for_one, for_all = ((sizes[-1] - sizes[1]) / size for sizes in json.loads(done.stdout))
    assert for_one < 1.5
    assert for_all > 5
