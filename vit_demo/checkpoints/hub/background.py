"""Run the client's blocking calls in threads that can be abandoned.

The client's own retries take up to 23 s, a name server that does not answer can block even longer,
and neither can be interrupted. So each call runs in a daemon thread, and the caller waits for the
result, a cancellation or a timeout, whichever comes first. An abandoned thread ends at its next
progress report and does not keep the process alive.
"""

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from math import inf
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import TypeVar

from vit_demo.errors import CancelledError

POLL_SECONDS = 0.05

Answer = TypeVar("Answer")
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class ProgressChannel:
    """Connects a call in a thread with its caller: reports one way, closing the other way."""

    reports: SimpleQueue[tuple[int, int]] = field(default_factory=SimpleQueue)
    closed: Event = field(default_factory=Event)

    def report(self, done: int, total: int) -> None:
        """Report the bytes downloaded; CancelledError if the caller no longer waits."""
        if self.closed.is_set():
            raise CancelledError("The caller no longer waits for this download.")
        self.reports.put((done, total))


def wait_for(
    call: Callable[[ProgressChannel], Answer],
    cancelled: Event,
    patience: float,
    report: Report | None = None,
) -> Answer:
    """The result of `call`; its progress reports are delivered in the caller's thread.

    Raises CancelledError as soon as `cancelled` is set, TimeoutError if there is neither a result
    nor a report within `patience` seconds of the start, and whatever `call` raises.
    """
    channel, future = ProgressChannel(), Future[Answer]()
    Thread(target=_complete, args=(future, call, channel), daemon=True).start()
    deadline = monotonic() + patience
    try:
        while not future.done():
            if cancelled.is_set():
                raise CancelledError("The download was stopped; start it again when you like.")
            if monotonic() > deadline:
                raise TimeoutError(f"no answer within {patience:g} seconds")
            wait([future], timeout=POLL_SECONDS)
            if _deliver(channel.reports, report):
                deadline = inf
        _deliver(channel.reports, report)
        return future.result()
    finally:
        channel.closed.set()


def _complete(
    future: Future[Answer], call: Callable[[ProgressChannel], Answer], channel: ProgressChannel
) -> None:
    try:
        future.set_result(call(channel))
    except BaseException as error:  # raised again in the caller's thread
        future.set_exception(error)


def _deliver(reports: SimpleQueue[tuple[int, int]], report: Report | None) -> bool:
    """Deliver all queued reports; returns whether there were any."""
    found = False
    while not reports.empty():
        done, total = reports.get()
        found = True
        if report is not None:
            report(done, total)
    return found
