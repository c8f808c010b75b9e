"""Loaded checkpoints stay within their bound, and nobody's answer changes with another's choice."""

import threading
from dataclasses import replace

import pytest

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
