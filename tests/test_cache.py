"""Loaded checkpoints stay within their bound, and nobody's answer changes with another's choice."""

import threading
from types import SimpleNamespace

import pytest

from vit_demo.checkpoints.cache import CheckpointCache
from vit_demo.errors import NotFoundError


def cache_of(limit, loaded):
    def load(ref, progress):
        loaded.append(ref)
        return SimpleNamespace(ref=ref, bytes=int(ref))

    return CheckpointCache(load, limit)


def test_what_is_kept_is_not_loaded_again():
    loaded = []
    cache = cache_of(100, loaded)
    assert cache.get("10") is cache.get("10")
    assert loaded == ["10"]


def test_the_longest_unused_goes_when_the_bound_is_passed():
    loaded = []
    cache = cache_of(100, loaded)
    for ref in ("40", "41", "40", "42"):
        cache.get(ref)
    assert cache.kept == ("40", "42")
    cache.get("41")
    assert loaded == ["40", "41", "42", "41"]


def test_one_that_is_larger_than_the_bound_still_works_and_stays_alone():
    cache = cache_of(100, [])
    cache.get("10")
    assert cache.get("500").bytes == 500
    assert cache.kept == ("500",)


def test_a_loading_that_fails_is_tried_again():
    answers = [NotFoundError("not now"), SimpleNamespace(bytes=1)]

    def load(ref, progress):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    cache = CheckpointCache(load, 10)
    with pytest.raises(NotFoundError):
        cache.get("a")
    assert cache.get("a").bytes == 1


def test_two_who_ask_at_once_wait_for_one_loading_and_others_do_not_wait():
    loaded, begun, may_end = [], threading.Event(), threading.Event()

    def load(ref, progress):
        loaded.append(ref)
        if ref == "slow":
            begun.set()
            assert may_end.wait(10)
        return SimpleNamespace(ref=ref, bytes=1)

    cache = CheckpointCache(load, 10)
    answers = []
    askers = [threading.Thread(target=lambda: answers.append(cache.get("slow"))) for _ in range(3)]
    for asker in askers:
        asker.start()
    assert begun.wait(10)
    assert cache.get("quick").ref == "quick"
    may_end.set()
    for asker in askers:
        asker.join(10)
    assert loaded == ["slow", "quick"]
    assert len({id(answer) for answer in answers}) == 1
    assert len(answers) == 3
