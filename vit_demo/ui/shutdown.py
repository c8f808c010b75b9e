"""Stop a running page: reject new work, finish running work, and end the process."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol, runtime_checkable

# How long running work may continue after the stop signal.
GRACE_SECONDS = 5.0
POLL_SECONDS = 0.05


@runtime_checkable
class Stoppable(Protocol):
    """The methods of a page that are needed to stop it."""

    @property
    def running(self) -> int: ...
    def refuse_new_work(self) -> None: ...
    def close(self) -> None: ...


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that is set by SIGTERM or Ctrl-C; a second signal ends the process at once."""
    stop_requested = threading.Event()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)
        stop_requested.set()

    for number in handlers:
        signal.signal(number, stop)
    try:
        yield stop_requested
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def finish(
    page: Stoppable,
    seconds: float = GRACE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Reject new work, wait for running work, and close; whether all work finished in time."""
    page.refuse_new_work()
    end = clock() + seconds
    while (busy := page.running) and clock() < end:
        sleep(POLL_SECONDS)
    page.close()
    return not busy
