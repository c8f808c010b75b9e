"""The three requests to the Hub, through its own client: a listing, a file, a search.

The client raises its own exceptions (`FAULTS`), which `faults` turns into error messages.
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

ANSWER_SECONDS = 8.0  # for a listing or a search; under 10 with start-up and the cache check
START_SECONDS = 30.0  # for a file's first bytes; the client's own retries take 23
ATTEMPTS = 2

Progress = Callable[[str, int, int], None]


class AlreadyDamagedError(Exception):
    """The shared cache already contained a damaged file; the file is not removed."""


@dataclass(frozen=True)
class RemoteFile:
    """A file in a listing; mirrors may omit its size and its SHA-256."""

    name: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit."""

    commit: str
    files: Mapping[str, RemoteFile]


def fetch_listing(reference: HubReference, cancelled: Event) -> Listing:
    """The Hub's listing of `reference`, within ANSWER_SECONDS; raises FAULTS."""

    def call(channel: ProgressChannel) -> Listing:
        with _invalid_answers_as_faults():
            return _listing(
                HfApi().model_info(
                    reference.repo,
                    revision=reference.revision,
                    timeout=ANSWER_SECONDS,
                    files_metadata=True,
                )
            )

    _silence_client_log()
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
    """Download one file at one commit into a cache, and verify its hash.

    A damaged download is removed and repeated once, then raises DamagedError. A file that was
    already damaged in a shared cache is not removed and raises AlreadyDamagedError. A download that
    exceeds the listed size, or `limit` if no size is listed, is aborted. Also raises FAULTS and
    CancelledError.
    """
    started = Event()

    def call(channel: ProgressChannel) -> Path:
        return Path(
            hf_hub_download(
                reference.repo,
                file.name,
                revision=commit,
                cache_dir=cache_dir,
                etag_timeout=ANSWER_SECONDS,
                tqdm_class=_meter(channel, file.size or limit, started),
            )
        )

    _silence_client_log()
    for _ in range(ATTEMPTS):
        started.clear()
        try:
            path = wait_for(call, stop, START_SECONDS, report)
        except OSError as error:
            # The client raises a plain OSError without errno for a truncated download.
            if type(error) is not OSError or error.errno is not None:
                raise
            continue
        if intact(path, file.sha256):
            return path
        if not started.is_set() and cache_dir != own_root():
            raise AlreadyDamagedError(str(path))
        remove(path)
    raise DamagedError(
        f"{file.name} of {reference} was downloaded {ATTEMPTS} times, damaged each time, and "
        "removed; try again later, or from another network or mirror (HF_ENDPOINT)."
    )


def size_of(
    reference: HubReference, commit: str, file: RemoteFile, cache_dir: Path, stop: Event
) -> int:
    """The size of a file; a separate request if it is not listed; raises FAULTS."""

    def call(channel: ProgressChannel) -> int:
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
    _silence_client_log()
    return wait_for(call, stop, START_SECONDS)


def search(query: str, limit: int, cancelled: Event) -> Sequence[ModelInfo]:
    """Image classifiers with `query` in their name, most downloaded first; raises FAULTS.

    The client's `list_models` has no timeout, so the request uses the client's session directly.
    """

    def call(channel: ProgressChannel) -> Sequence[ModelInfo]:
        with _invalid_answers_as_faults():
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

    _silence_client_log()
    return wait_for(call, cancelled, ANSWER_SECONDS)


def _meter(channel: ProgressChannel, limit: int, started: Event) -> type[tqdm]:
    """A progress bar class for the client that draws nothing: it reports and enforces the limit.

    The client creates a bar only if it downloads bytes, not for a cached file; so `started` means
    that the file was written by this download.
    """

    class Meter(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            started.set()
            self.done = int(kwargs.get("initial") or 0)
            self.expected = int(kwargs.get("total") or 0)
            channel.report(self.done, self.expected)

        def update(self, n: float | None = 1) -> None:
            self.done += int(n or 0)
            if self.done > limit:
                raise DamagedError(
                    f"The Hub sends more than the {limit:,} bytes it announced; "
                    "try again later, or from another mirror (HF_ENDPOINT)."
                )
            channel.report(self.done, max(self.expected, self.done))

        def update_transfer(self, n: float | None = 1) -> None:
            """Network bytes, which are ignored; the client counts bytes on disk with `update`."""

    return Meter


def _listing(info: ModelInfo) -> Listing:
    """Convert a listing; its content comes from the network and is checked."""
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
def _invalid_answers_as_faults() -> Iterator[None]:
    """Raise the client's FileMetadataError for an answer that is not a Hub's, e.g. a login page."""
    try:
        yield
    except HfHubHTTPError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileMetadataError(f"not an answer of a Hub: {error}") from error


def _silence_client_log() -> None:
    """Suppress the client's messages about retries; our own error reports the failure once."""
    if "HF_HUB_VERBOSITY" not in os.environ:
        logging.set_verbosity_error()
