"""What goes wrong on the way to the Hub, each fault in one sentence that says what to do."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from http import HTTPStatus

import httpx2
from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    DisabledRepoError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from vit_demo.checkpoints.hub.reference import HubReference
from vit_demo.errors import AccessError, CheckpointError, NotFoundError, UnreachableError

LOG_IN = "log in with `hf auth login` or set HF_TOKEN"
MIRROR = "in China, set HF_ENDPOINT to a mirror such as https://hf-mirror.com"
NETWORK = f"check the network ({MIRROR})"

TO_ALL = f"that is open to all; check the spelling, or, if it is private, {LOG_IN}"
TO_THIS_TOKEN = (
    "that your access token may read; check the spelling, and if the token may have expired, "
    "log in again with `hf auth login`"
)

# The Hub has answered, and the answer is no. A gated repository is a subclass of a missing one.
REFUSALS: tuple[tuple[type[Exception], type[CheckpointError], str], ...] = (
    (
        GatedRepoError,
        AccessError,
        "{repo} is gated: accept its terms at {endpoint}/{repo}, and " + LOG_IN + ".",
    ),
    (
        RepositoryNotFoundError,
        NotFoundError,
        "{endpoint} has no repository '{repo}' {readable}.",
    ),
    (
        RevisionNotFoundError,
        NotFoundError,
        "{repo} has no revision '{revision}'; leave out @{revision} for the newest, or choose one "
        "from {endpoint}/{repo}/commits/main.",
    ),
    (
        RemoteEntryNotFoundError,
        CheckpointError,
        "{repo} lists a file that {endpoint} does not have; try again later, or from another "
        "mirror (HF_ENDPOINT).",
    ),
    (
        DisabledRepoError,
        AccessError,
        "{repo} has been disabled by the Hub; choose another checkpoint.",
    ),
)

# The Hub has not answered: why, and what to do. The first that occurs among the causes counts.
SILENCES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...] = (
    (OfflineModeIsEnabled, "HF_HUB_OFFLINE is set", "unset it"),
    (
        FileMetadataError,
        "what answers at {endpoint} is not a Hub",
        "log in to the network if it asks for that, or correct HF_ENDPOINT",
    ),
    (
        (httpx2.UnsupportedProtocol, httpx2.InvalidURL),
        "'{endpoint}' is not a web address",
        "correct HF_ENDPOINT or unset it",
    ),
    (ConnectionRefusedError, "{endpoint} refuses connections", NETWORK),
    (socket.gaierror, "the address of {endpoint} cannot be found", NETWORK),
    (ssl.SSLError, "the certificate of {endpoint} is not trusted", "check the clock and the proxy"),
    ((TimeoutError, httpx2.TimeoutException), "{endpoint} did not answer in time", NETWORK),
    (httpx2.RemoteProtocolError, "{endpoint} broke the connection off", "try again"),
    (httpx2.HTTPError, "{endpoint} cannot be reached", NETWORK),
)


def explained(
    error: Exception, reference: HubReference | None, offline: Sequence[str]
) -> CheckpointError:
    """The fault in our words. `offline` are the checkpoints that work without a network.

    Without a `reference` it is a search that has failed.
    """
    causes = tuple(causes_of(error))
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return CheckpointError(
            f"The cache {constants.HF_HUB_CACHE} cannot be used ({error.strerror}); free some "
            "space, or set HF_HOME to a folder that can be written to."
        )
    names = {
        "repo": reference.repo if reference else "the search",
        "revision": reference.revision if reference else "",
        "endpoint": constants.ENDPOINT,
        "readable": TO_THIS_TOKEN if get_token() else TO_ALL,
    }
    for kind, refusal, sentence in REFUSALS:
        if any(isinstance(cause, kind) for cause in causes):
            return refusal(sentence.format(**names))
    for cause in causes:
        if isinstance(cause, HfHubHTTPError):
            return _by_status(cause, reference, offline)
    return _unreachable(*connection_failure(error), reference, offline)


def connection_failure(error: Exception) -> tuple[str, str]:
    """Why the Hub did not answer, and what to do about it."""
    causes = tuple(causes_of(error))
    for kinds, reason, step in SILENCES:
        if any(isinstance(cause, kinds) for cause in causes):
            return reason.format(endpoint=constants.ENDPOINT), step
    return f"{constants.ENDPOINT} cannot be reached", NETWORK


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, what caused that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _by_status(
    error: HfHubHTTPError, reference: HubReference | None, offline: Sequence[str]
) -> CheckpointError:
    status = error.response.status_code
    answer = f"{constants.ENDPOINT} answered {status} ({phrase(status)})"
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return AccessError(
                f"{constants.ENDPOINT} refuses the access token, which may have expired; log in "
                "again with `hf auth login`, or unset HF_TOKEN to read public checkpoints."
            )
        case HTTPStatus.FORBIDDEN:
            wanted = f"{constants.ENDPOINT}/{reference.repo}" if reference else "its settings"
            return AccessError(
                f"{answer}: this account may not read it; ask for access at {wanted}, "
                "or use a token that may read gated repositories."
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            return _unreachable(answer, f"wait a few minutes, or {LOG_IN}", reference, offline)
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _unreachable(answer, "try again in a minute", reference, offline)
    return CheckpointError(f"{answer}; check the reference and HF_ENDPOINT.")


def phrase(status: int) -> str:
    """What a status of HTTP means, in its own words."""
    known = {code.value: code.phrase for code in HTTPStatus}
    return known.get(status, "unknown")


def _unreachable(
    reason: str, step: str, reference: HubReference | None, offline: Sequence[str]
) -> UnreachableError:
    lack = (
        f"no whole copy of {reference} is in the cache" if reference else "a search needs the Hub"
    )
    return UnreachableError(
        f"{upper(reason)}, and {lack}; {step}, or choose one that works offline: "
        f"{', '.join(offline)}."
    )


def upper(text: str) -> str:
    """A capital to begin with, except where an address must stay as it is typed."""
    return text if text.startswith("http") else text[0].upper() + text[1:]
