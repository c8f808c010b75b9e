"""First come, first served, and a long task lets others through."""

import threading

import pytest

from vit_demo.ui.fair_lock import FairLock


def wait_until_queued(lock, count):
    while len(lock._waiting) < count:
        pass


def test_one_at_a_time_in_the_order_of_asking():
    lock, order = FairLock(), []

    def task(name):
        with lock:
            order.append(name)

    threads = [threading.Thread(target=task, args=(name,)) for name in "abcd"]
    with lock:
        for count, thread in enumerate(threads, start=1):
            thread.start()
            wait_until_queued(lock, count)
        assert order == []
    for thread in threads:
        thread.join(10)
    assert order == list("abcd")


def test_a_long_task_lets_all_who_wait_through_and_goes_on():
    lock, order = FairLock(), []

    def short():
        with lock:
            order.append("short")

    threads = [threading.Thread(target=short) for _ in range(2)]
    with lock:
        lock.let_others_through()
        order.append("begun")
        for count, thread in enumerate(threads, start=1):
            thread.start()
            wait_until_queued(lock, count)
        lock.let_others_through()
        order.append("ended")
    for thread in threads:
        thread.join(10)
    assert order == ["begun", "short", "short", "ended"]


def test_it_is_free_again_after_an_error():
    lock = FairLock()
    with pytest.raises(KeyError), lock:
        raise KeyError
    with lock:
        pass
