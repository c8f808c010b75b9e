"""Stop a running page: what runs is finished, new work is refused, and the process ends."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol, runtime_checkable

# What a visitor may still wait for after the page was told to stop.
GRACE_SECONDS = 5.0
POLL_SECONDS = 0.05


@runtime_checkable
class Stoppable(Protocol):
    """A page that serves, as far as stopping it goes."""

    @property
    def running(self) -> int: ...
    def refuse_new_work(self) -> None: ...
    def close(self) -> None: ...


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that is set by SIGTERM or Ctrl-C; a second one ends the process at once."""
    asked = threading.Event()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)
        asked.set()

    for number in handlers:
        signal.signal(number, stop)
    try:
        yield asked
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def finish(
    page: Stoppable,
    seconds: float = GRACE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Refuse new work, wait for what runs, and close; whether all of it was finished in time."""
    page.refuse_new_work()
    end = clock() + seconds
    while (busy := page.running) and clock() < end:
        sleep(POLL_SECONDS)
    page.close()
    return not busy
