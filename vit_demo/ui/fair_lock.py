"""A lock that is handed on in the order of asking, and that a long task can pass on for a while."""

from collections import deque
from threading import Event, Lock
from types import TracebackType


class FairLock:
    """First come, first served.

    A `threading.Lock` that is released and asked for again at once is mostly won by the same
    thread, so others would wait for the whole of a long task.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: deque[Event] = deque()
        self._held = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._held:
                self._held = True
                return
            turn = Event()
            self._waiting.append(turn)
        turn.wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._held = False

    def let_others_through(self) -> None:
        """For the holder: let everyone who waits now have the lock, then take it again."""
        with self._lock:
            if not self._waiting:
                return
            turn = Event()
            self._waiting.append(turn)
            self._waiting.popleft().set()
        turn.wait()
