"""A log that no visitor can fill: so many characters a minute, and a count of the rest."""

import io
import time
from collections.abc import Callable
from threading import Lock
from typing import Protocol, runtime_checkable

CHARACTERS = 20_000
SECONDS = 60


@runtime_checkable
class Stream(Protocol):
    """What is needed of the stream behind: sys.stderr, or one in memory."""

    def write(self, text: str, /) -> int: ...
    def flush(self) -> None: ...
    def isatty(self) -> bool: ...
    def fileno(self) -> int: ...


class LimitedLog(io.TextIOBase):
    """Passes text on to `stream`, at most `characters` of it in each `seconds`.

    What is too much is left out and counted; the count is written once there is room again.
    """

    def __init__(
        self,
        stream: Stream,
        characters: int = CHARACTERS,
        seconds: int | float = SECONDS,
        clock: Callable[[], int | float] = time.monotonic,
    ) -> None:
        self._stream, self._limit, self._seconds, self._clock = stream, characters, seconds, clock
        self._begin = clock()
        self._written = self._left_out = 0
        self._lock = Lock()

    def write(self, text: str) -> int:
        """Write what there is room for; the whole length is reported as written."""
        with self._lock:
            now = self._clock()
            if now - self._begin >= self._seconds:
                if self._left_out:
                    self._stream.write(
                        f"({self._left_out} characters of log messages were left out)\n"
                    )
                self._begin, self._written, self._left_out = now, 0, 0
            kept = text[: max(self._limit - self._written, 0)]
            self._written += len(kept)
            self._left_out += len(text) - len(kept)
            if kept:
                self._stream.write(kept)
        return len(text)

    def flush(self) -> None:
        """Flush the stream behind."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream behind is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The file descriptor of the stream behind."""
        return self._stream.fileno()
