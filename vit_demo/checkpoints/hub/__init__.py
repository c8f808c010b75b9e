"""Download checkpoints from the Hub, and search it.

The cache comes first: a complete commit in it needs no request, and if the Hub cannot be reached,
the last known commit of a branch is used. Files in the shared cache are never removed; if one is
damaged, the checkpoint is downloaded again into this app's own cache. The listing is fetched
first, then the small files, then the weights, and only if the configuration is supported and the
size is within the limit. Code in a repository is never downloaded or run.
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

# Gives the names of checkpoints that work without a network, for error messages.
Offline = Callable[[], Sequence[str]]

LARGEST_SMALL_FILE = 10_000_000
MAX_SUGGESTIONS = 5

SEARCHED_PER_RESULT, MOST_SEARCHED = 5, 100


@dataclass(frozen=True)
class Found:
    """A classifier in the results of a search."""

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
    """Download a checkpoint's files, or find them in the cache; returns their folder and commit.

    `accept` gets the configuration before any weights are downloaded, and raises UnsupportedError
    if it is not supported. `progress` is called in the caller's thread with a file's name, the
    bytes downloaded and the total bytes. `cancelled` can be set at any time. `limit` is in bytes,
    over all files. Pickled weights need `allow_pickle`. `offline` gives checkpoints that an error
    message can suggest instead; by default all complete ones in the cache.

    Raises NotFoundError, AccessError, UnreachableError, DamagedError, CancelledError or
    UnsupportedError, each with the next step, and CheckpointError in rare cases.
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
        fault = explained(error, reference, names[:MAX_SUGGESTIONS])
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
    """Image classifiers of these families with `query` in their name, most downloaded first.

    Raises UnreachableError without a network, AccessError if the token is refused.
    """
    tags = hub_tags() if families is None else set(families)
    most = min(limit * SEARCHED_PER_RESULT, MOST_SEARCHED)
    try:
        models = client.search(query, most, cancelled or Event())
    except FAULTS as error:
        names = offline() if offline else _offline()
        raise explained(error, None, names[:MAX_SUGGESTIONS]) from error
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
        if is_repo(model.id) and not tags.isdisjoint(model.tags or ())
    ]
    return found[:limit]


def _offline(accept: Accept | None = None, allow_pickle: bool = False) -> list[str]:
    """Checkpoints that work without a network, for error messages."""
    return [*bundled(), *(str(snapshot.reference) for snapshot in cached(accept, allow_pickle))]


@dataclass(frozen=True)
class _Download:
    """One download of a checkpoint."""

    reference: HubReference
    accept: Accept
    progress: Progress | None
    cancelled: Event
    allow_pickle: bool
    limit: int

    def run(self, listing: Listing) -> Snapshot:
        """Download the listed files, into our own cache if the shared one is damaged."""
        try:
            return self._run(listing, cache.shared_root())
        except AlreadyDamagedError:
            return self._run(listing, cache.own_root())

    def _run(self, listing: Listing, cache_dir: Path) -> Snapshot:
        """Download the small files first, then the weights."""
        small = [listing.files[name] for name in cache.SMALL if name in listing.files]
        if CONFIG not in listing.files:
            raise UnsupportedError(
                f"{self.reference} has no {CONFIG}, so its architecture is unknown; "
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
        """The files with the weights: one, or several with an index, which is downloaded here.

        Raises UnsupportedError if they are pickled or missing.
        """
        for whole in (WEIGHTS, PICKLE):
            index = f"{whole}{INDEX}"
            if whole not in listing.files and index not in listing.files:
                continue
            if whole == PICKLE and not self.allow_pickle:
                raise UnsupportedError(
                    f"{self.reference} has only pickled weights ({PICKLE}), which can contain "
                    f"code; choose one with {WEIGHTS}, or start with --allow-pickle if you trust "
                    "its author."
                )
            if whole in listing.files:
                return [listing.files[whole]]
            return self._parts(listing, listing.files[index], cache_dir)
        raise UnsupportedError(
            f"{self.reference} has no {WEIGHTS}; choose a checkpoint that has one."
        )

    def _parts(self, listing: Listing, index: RemoteFile, cache_dir: Path) -> list[RemoteFile]:
        """The files that an index names; raises CheckpointError if one is not in the listing."""
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
                f"{file.name} of {self.reference} has {file.size:,} bytes, which is too large for "
                "such a file; choose another checkpoint."
            )

    def _check_size(self, total: int, cache_dir: Path) -> None:
        """Raise CheckpointError if the size exceeds the limit or the free disk space."""
        if total > self.limit:
            raise CheckpointError(
                f"{self.reference} has {_megabytes(total)}, but at most {_megabytes(self.limit)} "
                "are downloaded; choose a smaller checkpoint, or increase VIT_DEMO_DOWNLOAD_MB."
            )
        free = shutil.disk_usage(cache_dir).free
        if total > free:
            raise CheckpointError(
                f"{self.reference} has {_megabytes(total)}, but only {_megabytes(free)} are free "
                f"in {cache_dir}; free some space, or set HF_HOME to a folder on a larger disk."
            )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
