"""Keep checkpoints loaded, up to a limit in bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vit_demo.checkpoints.checkpoint import Checkpoint

Progress = Callable[[str, int, int], None]


class CheckpointCache:
    """Loads a checkpoint once and keeps it while there is room; evicts the least recently used.

    An evicted checkpoint stays usable for its current users. The most recently requested checkpoint
    always stays, even if it alone exceeds the limit.
    """

    def __init__(
        self, load: Callable[[str, Progress | None], Checkpoint], limit_bytes: int
    ) -> None:
        self._load = load
        self._limit = limit_bytes
        self._kept: OrderedDict[str, Checkpoint] = OrderedDict()
        # For each checkpoint that is being loaded: its lock and the number of threads that use it.
        self._loading: dict[str, tuple[threading.Lock, int]] = {}
        self._lock = threading.Lock()

    def get(self, ref: str, progress: Progress | None = None) -> Checkpoint:
        """Return the checkpoint, loaded if necessary; simultaneous callers wait for one load.

        `progress` is called during downloads. Raises the errors of the load function.
        """
        with self._one_at_a_time(ref):
            with self._lock:
                if ref in self._kept:
                    self._kept.move_to_end(ref)
                    return self._kept[ref]
            checkpoint = self._load(ref, progress)
            with self._lock:
                self._kept[ref] = checkpoint
                self._evict()
        return checkpoint

    @contextmanager
    def _one_at_a_time(self, ref: str) -> Iterator[None]:
        """Wait while another thread loads the same checkpoint; an unused lock is removed."""
        with self._lock:
            lock, users = self._loading.get(ref, (threading.Lock(), 0))
            self._loading[ref] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._loading.pop(ref)
                if users > 1:
                    self._loading[ref] = lock, users - 1

    @property
    def kept(self) -> tuple[str, ...]:
        """References of the loaded checkpoints, the least recently used first."""
        with self._lock:
            return tuple(self._kept)

    def _evict(self) -> None:
        while len(self._kept) > 1 and sum(c.bytes for c in self._kept.values()) > self._limit:
            self._kept.popitem(last=False)
