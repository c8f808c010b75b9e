"""What patches attend to, layer by layer, packed for the visitors who look at it now."""

from collections import OrderedDict
from threading import Lock


class Rows:
    """The packed layers of the latest results; beyond a bound in bytes the longest unused go.

    What has gone is made again from its photo. The newest always stays.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, token: str | None) -> tuple[str, ...] | None:
        """The layers of a result, if they are still kept."""
        with self._lock:
            if token not in self._kept:
                return None
            self._kept.move_to_end(token)
            return self._kept[token]

    def add(self, token: str, layers: tuple[str, ...]) -> None:
        """Keep the layers of a result."""
        with self._lock:
            self._bytes += sum(map(len, layers)) - sum(map(len, self._kept.pop(token, ())))
            self._kept[token] = layers
            while len(self._kept) > 1 and self._bytes > self._limit:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= sum(map(len, gone))

    def drop(self, token: str | None) -> None:
        """Forget the layers of a result."""
        with self._lock:
            self._bytes -= sum(map(len, self._kept.pop(token or "", ())))

    @property
    def bytes(self) -> int:
        """What all of them take up."""
        with self._lock:
            return self._bytes
