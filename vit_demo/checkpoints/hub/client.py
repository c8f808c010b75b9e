"""The three things the Hub's own client is asked for: a listing, a file, a search.

The client answers with its own exceptions (`FAULTS`), which `faults` puts into words.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import FileMetadataError, HfHubHTTPError
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import (
    build_hf_headers,
    get_session,
    hf_raise_for_status,
    logging,
    tqdm,
)

from vit_demo.checkpoints.hub.background import ProgressChannel, Report, wait_for
from vit_demo.checkpoints.hub.cache import own_root, remove
from vit_demo.checkpoints.hub.reference import COMMIT, HubReference
from vit_demo.checkpoints.hub.verified import intact
from vit_demo.errors import DamagedError

FAULTS = (httpx2.HTTPError, httpx2.InvalidURL, OSError)

ANSWER_SECONDS = 8.0  # for a listing or a search; with start-up and one look at the cache, under 10
START_SECONDS = 30.0  # for a file's first bytes; the client's own back-off takes 23
ATTEMPTS = 2

Progress = Callable[[str, int, int], None]


class AlreadyDamagedError(Exception):
    """The shared cache held a damaged file before anything was fetched; it stays there."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as the Hub lists it; mirrors may leave out its size and its SHA-256."""

    name: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit."""

    commit: str
    files: Mapping[str, RemoteFile]


def fetch_listing(reference: HubReference, cancelled: Event) -> Listing:
    """What the Hub lists under `reference`, within ANSWER_SECONDS; raises FAULTS."""

    def call(line: ProgressChannel) -> Listing:
        with _no_hub_is_a_fault():
            return _listing(
                HfApi().model_info(
                    reference.repo,
                    revision=reference.revision,
                    timeout=ANSWER_SECONDS,
                    files_metadata=True,
                )
            )

    _quieten()
    return wait_for(call, cancelled, ANSWER_SECONDS)


def download(
    reference: HubReference,
    commit: str,
    file: RemoteFile,
    cache_dir: Path,
    limit: int,
    report: Report,
    stop: Event,
) -> Path:
    """One file at one commit, into a cache; its content is what the Hub says, or DamagedError.

    What arrives damaged is removed and fetched once more. What lay damaged in a shared cache is
    left alone, with AlreadyDamagedError. A body longer than its listing, or than `limit` where the
    listing is silent, is broken off. Raises FAULTS and CancelledError, too.
    """
    begun = Event()

    def call(line: ProgressChannel) -> Path:
        return Path(
            hf_hub_download(
                reference.repo,
                file.name,
                revision=commit,
                cache_dir=cache_dir,
                etag_timeout=ANSWER_SECONDS,
                tqdm_class=_meter(line, file.size or limit, begun),
            )
        )

    _quieten()
    for _ in range(ATTEMPTS):
        begun.clear()
        try:
            path = wait_for(call, stop, START_SECONDS, report)
        except OSError as error:
            # What is shorter than announced, the client calls a plain OSError, without a number.
            if type(error) is not OSError or error.errno is not None:
                raise
            continue
        if intact(path, file.sha256):
            return path
        if not begun.is_set() and cache_dir != own_root():
            raise AlreadyDamagedError(str(path))
        remove(path)
    raise DamagedError(
        f"{file.name} of {reference} arrived damaged {ATTEMPTS} times and was removed; "
        "try again later, or from another network or mirror (HF_ENDPOINT)."
    )


def size_of(
    reference: HubReference, commit: str, file: RemoteFile, cache_dir: Path, stop: Event
) -> int:
    """A file's size, asked for by itself where the listing is silent; raises FAULTS."""

    def call(line: ProgressChannel) -> int:
        answer = hf_hub_download(
            reference.repo,
            file.name,
            revision=commit,
            cache_dir=cache_dir,
            etag_timeout=ANSWER_SECONDS,
            dry_run=True,
        )
        return answer.file_size or 0

    if file.size is not None:
        return file.size
    _quieten()
    return wait_for(call, stop, START_SECONDS)


def search(query: str, limit: int, cancelled: Event) -> Sequence[ModelInfo]:
    """Image classifiers whose name holds `query`, the most downloaded first; raises FAULTS.

    The client's own `list_models` knows no timeout, so its session is asked directly.
    """

    def call(line: ProgressChannel) -> Sequence[ModelInfo]:
        with _no_hub_is_a_fault():
            response = get_session().get(
                f"{constants.ENDPOINT}/api/models",
                params={
                    "search": query,
                    "pipeline_tag": "image-classification",
                    "sort": "downloads",
                    "limit": limit,
                },
                headers=build_hf_headers(),
                timeout=ANSWER_SECONDS,
            )
            hf_raise_for_status(response)
            return [ModelInfo(**entry) for entry in response.json()]

    _quieten()
    return wait_for(call, cancelled, ANSWER_SECONDS)


def _meter(line: ProgressChannel, limit: int, begun: Event) -> type[tqdm]:
    """The client's progress bar, without the bar: it reports, and it stops what runs too far.

    The client makes one when bytes are to come, and none for a file that the cache holds; so
    `begun` says that the file is this download's own.
    """

    class Meter(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            begun.set()
            self.done = int(kwargs.get("initial") or 0)
            self.expected = int(kwargs.get("total") or 0)
            line.report(self.done, self.expected)

        def update(self, n: float | None = 1) -> None:
            self.done += int(n or 0)
            if self.done > limit:
                raise DamagedError(
                    f"The Hub sends more than the {limit:,} bytes it announced; "
                    "try again later, or from another mirror (HF_ENDPOINT)."
                )
            line.report(self.done, max(self.expected, self.done))

        def update_transfer(self, n: float | None = 1) -> None:
            """Bytes on the wire; the client counts those on the disk with `update`."""

    return Meter


def _listing(info: ModelInfo) -> Listing:
    """Read with care: every word of it comes from the network."""
    if not COMMIT.fullmatch(info.sha or ""):
        raise ValueError(f"commit {info.sha!r}")
    files = {
        sibling.rfilename: RemoteFile(
            sibling.rfilename, sibling.size, sibling.lfs.sha256 if sibling.lfs else None
        )
        for sibling in info.siblings or ()
    }
    return Listing(str(info.sha), files)


@contextmanager
def _no_hub_is_a_fault() -> Iterator[None]:
    """What is no answer of a Hub (a hotel's login page) becomes the client's own word for it."""
    try:
        yield
    except HfHubHTTPError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileMetadataError(f"no answer of a Hub: {error}") from error


def _quieten() -> None:
    """What the client would log about retries is said once, in our own error."""
    if "HF_HUB_VERBOSITY" not in os.environ:
        logging.set_verbosity_error()
