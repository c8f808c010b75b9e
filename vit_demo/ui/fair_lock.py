"""A first-in, first-out lock that a long task can hand over to waiting threads."""

from collections import deque
from threading import Event, Lock
from types import TracebackType


class FairLock:
    """A lock that is acquired in the order of the requests.

    If a thread releases a `threading.Lock` and acquires it again at once, it usually gets it before
    waiting threads, so they would wait for the whole of a long task.
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
        """For the holder: let all threads that wait now have the lock, then acquire it again."""
        with self._lock:
            if not self._waiting:
                return
            turn = Event()
            self._waiting.append(turn)
            self._waiting.popleft().set()
        turn.wait()
