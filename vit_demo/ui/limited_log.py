"""Limit how much text visitors can cause in the log; the omitted characters are counted."""

import io
import time
from collections.abc import Callable
from threading import Lock
from typing import Protocol, runtime_checkable

CHARACTERS = 20_000
SECONDS = 60


@runtime_checkable
class Stream(Protocol):
    """The methods that the wrapped stream needs: sys.stderr, or one in memory."""

    def write(self, text: str, /) -> int: ...
    def flush(self) -> None: ...
    def isatty(self) -> bool: ...
    def fileno(self) -> int: ...


class LimitedLog(io.TextIOBase):
    """Passes text on to `stream`, at most `characters` in every `seconds`.

    Text beyond the limit is dropped and counted; the count is written in the next period.
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
        """Write as much as the limit allows; returns the full length."""
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
        """Flush the wrapped stream."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether the wrapped stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The file descriptor of the wrapped stream."""
        return self._stream.fileno()
