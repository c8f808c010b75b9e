"""The room through which every checkpoint of the Hub comes.

The cache is asked first: a commit that lies there whole costs no request, and what a branch stood
for is good enough where the Hub cannot be asked. Nothing that lay in the shared cache is removed;
where it is damaged, the checkpoint is fetched again into a cache of this app's own. The listing
comes before any file, the small files before the weights, and the weights only when the
configuration is one that can be read and the size is within the limit. Repository code is never
fetched, let alone run.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from vit_demo.checkpoints.catalogue import bundled
from vit_demo.checkpoints.families import hub_tags
from vit_demo.checkpoints.files import CONFIG, PICKLE, WEIGHTS, read_json
from vit_demo.checkpoints.hub import cache, client
from vit_demo.checkpoints.hub.cache import Accept, cached, peek
from vit_demo.checkpoints.hub.client import (
    FAULTS,
    AlreadyDamagedError,
    Listing,
    Progress,
    RemoteFile,
)
from vit_demo.checkpoints.hub.faults import explained
from vit_demo.checkpoints.hub.reference import HubReference, Snapshot, is_repo
from vit_demo.checkpoints.weights import INDEX, part_names
from vit_demo.errors import CheckpointError, UnreachableError, UnsupportedError

__all__ = ["Found", "HubReference", "Offline", "Snapshot", "cached", "fetch", "peek", "search"]

# Names of checkpoints that need no network, to be told to somebody who has none.
Offline = Callable[[], Sequence[str]]

LARGEST_SMALL_FILE = 10_000_000
MOST_NAMES_TOLD = 5

SEARCHED_PER_RESULT, MOST_SEARCHED = 5, 100


@dataclass(frozen=True)
class Found:
    """A classifier that a search has found, as its repository describes itself."""

    reference: HubReference
    downloads: int
    likes: int
    license: str | None
    gated: bool


def fetch(
    reference: HubReference,
    accept: Accept,
    progress: Progress | None = None,
    *,
    cancelled: Event | None = None,
    allow_pickle: bool = False,
    limit: int,
    offline: Offline | None = None,
) -> Snapshot:
    """Bring a checkpoint's files here, and say where they are and at which commit.

    `accept` is shown the configuration before any weights are fetched, and raises
    UnsupportedError for what cannot be read. `progress` is called, in the caller's own thread,
    with a file's name, the bytes that are here and the bytes in all. `cancelled` can be set at
    any moment. `limit` is in bytes, over all files. Pickled weights need `allow_pickle`. `offline`
    names what a message may offer instead; left out, all that is whole in the cache.

    Raises NotFoundError, AccessError, UnreachableError, DamagedError, CancelledError and
    UnsupportedError, each with what to do next; CheckpointError for what is rarer.
    """
    download = _Download(reference, accept, progress, cancelled or Event(), allow_pickle, limit)
    stored = None
    try:
        stored = cache.find(reference, allow_pickle)
        complete = stored is not None and cache.processor_known(stored.folder)
        if stored is None or not complete or not reference.pinned:
            listing = client.fetch_listing(reference, download.cancelled)
            if stored is None or not complete or stored.revision != listing.commit:
                return download.run(listing)
    except FAULTS as error:
        names = offline() if offline else _offline(accept, allow_pickle)
        fault = explained(error, reference, names[:MOST_NAMES_TOLD])
        if stored is None or not isinstance(fault, UnreachableError):
            raise fault from error
    accept(read_json(stored.folder / CONFIG, str(reference)))
    return stored


def search(
    query: str,
    limit: int = 20,
    families: Sequence[str] | None = None,
    cancelled: Event | None = None,
    offline: Offline | None = None,
) -> list[Found]:
    """Image classifiers of these families whose name holds `query`, the most downloaded first.

    Raises UnreachableError without a network, AccessError when a token is refused.
    """
    wanted = hub_tags() if families is None else set(families)
    most = min(limit * SEARCHED_PER_RESULT, MOST_SEARCHED)
    try:
        models = client.search(query, most, cancelled or Event())
    except FAULTS as error:
        names = offline() if offline else _offline()
        raise explained(error, None, names[:MOST_NAMES_TOLD]) from error
    found = [
        Found(
            reference=HubReference(model.id),
            downloads=model.downloads or 0,
            likes=model.likes or 0,
            license=next(
                (tag[len("license:") :] for tag in model.tags or () if tag.startswith("license:")),
                None,
            ),
            gated=bool(model.gated),
        )
        for model in models
        if is_repo(model.id) and not wanted.isdisjoint(model.tags or ())
    ]
    return found[:limit]


def _offline(accept: Accept | None = None, allow_pickle: bool = False) -> list[str]:
    """Some checkpoints that need no network, to be named in a message."""
    return [*bundled(), *(str(snapshot.reference) for snapshot in cached(accept, allow_pickle))]


@dataclass(frozen=True)
class _Download:
    """One way to the Hub and back."""

    reference: HubReference
    accept: Accept
    progress: Progress | None
    cancelled: Event
    allow_pickle: bool
    limit: int

    def run(self, listing: Listing) -> Snapshot:
        """Fetch what the listing promises, beside the shared cache where that is damaged."""
        try:
            return self._run(listing, cache.shared_root())
        except AlreadyDamagedError:
            return self._run(listing, cache.own_root())

    def _run(self, listing: Listing, cache_dir: Path) -> Snapshot:
        """The small files first."""
        small = [listing.files[name] for name in cache.SMALL if name in listing.files]
        if CONFIG not in listing.files:
            raise UnsupportedError(
                f"{self.reference} has no {CONFIG}, so nothing says what model it is; "
                "choose an image classifier saved by transformers or timm."
            )
        for file in small:
            self._check_small(file)
        paths = [
            self._download(listing.commit, file, cache_dir, LARGEST_SMALL_FILE) for file in small
        ]
        folder = paths[0].parent
        self.accept(read_json(folder / CONFIG, str(self.reference)))
        weights = self._weights(listing, cache_dir)
        sizes = [
            client.size_of(self.reference, listing.commit, file, cache_dir, self.cancelled)
            for file in weights
        ]
        self._check_size(sum(sizes) + sum(path.stat().st_size for path in paths), cache_dir)
        for file, size in zip(weights, sizes, strict=True):
            self._download(listing.commit, file, cache_dir, size or self.limit)
        absent = tuple(name for name in cache.SMALL if name not in listing.files)
        return cache.mark_complete(self.reference, folder, absent)

    def _download(self, commit: str, file: RemoteFile, cache_dir: Path, limit: int) -> Path:
        def report(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(file.name, done, total)

        return client.download(
            self.reference, commit, file, cache_dir, limit, report, self.cancelled
        )

    def _weights(self, listing: Listing, cache_dir: Path) -> list[RemoteFile]:
        """The files of weights, one or several with an index, which is fetched here.

        Raises UnsupportedError where they are pickled or there are none.
        """
        for whole in (WEIGHTS, PICKLE):
            index = f"{whole}{INDEX}"
            if whole not in listing.files and index not in listing.files:
                continue
            if whole == PICKLE and not self.allow_pickle:
                raise UnsupportedError(
                    f"{self.reference} has only pickled weights ({PICKLE}), which can hide code; "
                    f"choose one with {WEIGHTS}, or start with --allow-pickle if you trust its "
                    "author."
                )
            if whole in listing.files:
                return [listing.files[whole]]
            return self._parts(listing, listing.files[index], cache_dir)
        raise UnsupportedError(
            f"{self.reference} has no {WEIGHTS}; choose a checkpoint that has one."
        )

    def _parts(self, listing: Listing, index: RemoteFile, cache_dir: Path) -> list[RemoteFile]:
        """The files that an index names; raises CheckpointError where the listing lacks one."""
        self._check_small(index)
        path = self._download(listing.commit, index, cache_dir, LARGEST_SMALL_FILE)
        names = part_names(path, str(self.reference))
        if missing := [name for name in names if name not in listing.files]:
            raise CheckpointError(
                f"{self.reference} has no {missing[0]}, which its {index.name} names; choose "
                "another checkpoint."
            )
        return [listing.files[name] for name in names]

    def _check_small(self, file: RemoteFile) -> None:
        if (file.size or 0) > LARGEST_SMALL_FILE:
            raise CheckpointError(
                f"{file.name} of {self.reference} has {file.size:,} bytes, far too many for what "
                "it should be; choose another checkpoint."
            )

    def _check_size(self, total: int, cache_dir: Path) -> None:
        """Against the limit, and against the room on the disk."""
        if total > self.limit:
            raise CheckpointError(
                f"{self.reference} has {_megabytes(total)}, and at most {_megabytes(self.limit)} "
                "are fetched; choose a smaller checkpoint, or raise VIT_DEMO_DOWNLOAD_MB."
            )
        free = shutil.disk_usage(cache_dir).free
        if total > free:
            raise CheckpointError(
                f"{self.reference} has {_megabytes(total)}, and {_megabytes(free)} are free in "
                f"{cache_dir}; free some space, or set HF_HOME to a larger disk."
            )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
