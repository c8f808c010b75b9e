"""A cache of the attention rows of recent results."""

from collections import OrderedDict
from threading import Lock


class Rows:
    """The serialized layers of recent results; the least recently used are evicted beyond a limit.

    Evicted layers are computed again from the photo. The newest entry always stays.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, token: str | None) -> tuple[str, ...] | None:
        """The layers of a result; None if they are not cached."""
        with self._lock:
            if token not in self._kept:
                return None
            self._kept.move_to_end(token)
            return self._kept[token]

    def add(self, token: str, layers: tuple[str, ...]) -> None:
        """Store the layers of a result."""
        with self._lock:
            self._bytes += sum(map(len, layers)) - sum(map(len, self._kept.pop(token, ())))
            self._kept[token] = layers
            while len(self._kept) > 1 and self._bytes > self._limit:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= sum(map(len, gone))

    def drop(self, token: str | None) -> None:
        """Delete the layers of a result."""
        with self._lock:
            self._bytes -= sum(map(len, self._kept.pop(token or "", ())))

    @property
    def bytes(self) -> int:
        """Total size of all entries."""
        with self._lock:
            return self._bytes
