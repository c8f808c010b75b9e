"""Run the client's blocking calls where they can be left behind.

The client sleeps through its own back-off (23 s), a dead name server can hold a look-up even
longer, and neither can be interrupted. So each call gets a thread, and its caller waits for
whichever comes first: the answer, a request to stop, or the end of its patience. A thread that
was left behind ends at its next report, and never keeps the process alive.
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
    """Between a call in its thread and the caller: reports go one way, hanging up the other."""

    reports: SimpleQueue[tuple[int, int]] = field(default_factory=SimpleQueue)
    hung_up: Event = field(default_factory=Event)

    def report(self, done: int, total: int) -> None:
        """Say how many bytes are here; raises CancelledError once nobody listens any more."""
        if self.hung_up.is_set():
            raise CancelledError("Nobody waits for this download any more.")
        self.reports.put((done, total))


def wait_for(
    call: Callable[[ProgressChannel], Answer],
    cancelled: Event,
    patience: float,
    report: Report | None = None,
) -> Answer:
    """The answer of `call`; its reports are passed on in the caller's own thread.

    Raises CancelledError as soon as `cancelled` is set, TimeoutError when neither an answer nor
    a report comes within `patience` seconds of the start, and whatever `call` raises.
    """
    line, future = ProgressChannel(), Future[Answer]()
    Thread(target=_settle, args=(future, call, line), daemon=True).start()
    deadline = monotonic() + patience
    try:
        while not future.done():
            if cancelled.is_set():
                raise CancelledError("The download was stopped; start it again when you like.")
            if monotonic() > deadline:
                raise TimeoutError(f"no answer within {patience:g} seconds")
            wait([future], timeout=POLL_SECONDS)
            if _pass_on(line.reports, report):
                deadline = inf
        _pass_on(line.reports, report)
        return future.result()
    finally:
        line.hung_up.set()


def _settle(
    future: Future[Answer], call: Callable[[ProgressChannel], Answer], line: ProgressChannel
) -> None:
    try:
        future.set_result(call(line))
    except BaseException as error:  # it is raised again where the caller waits
        future.set_exception(error)


def _pass_on(reports: SimpleQueue[tuple[int, int]], report: Report | None) -> bool:
    """Empty the queue; whether there was anything in it."""
    found = False
    while not reports.empty():
        done, total = reports.get()
        found = True
        if report is not None:
            report(done, total)
    return found
