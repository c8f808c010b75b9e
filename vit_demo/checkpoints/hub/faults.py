"""Turn failures of the Hub's client into errors of one sentence, with the next step."""

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

TO_ALL = f"that is public; check the spelling, or, if it is private, {LOG_IN}"
TO_THIS_TOKEN = (
    "that your access token may read; check the spelling, and if the token may have expired, "
    "log in again with `hf auth login`"
)

# The Hub refused the request. GatedRepoError is a subclass of RepositoryNotFoundError.
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
        "{repo} has no revision '{revision}'; leave @{revision} out for the newest, or choose one "
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

# The Hub did not answer: the reason and the next step. The first match among the causes is used.
SILENCES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...] = (
    (OfflineModeIsEnabled, "HF_HUB_OFFLINE is set", "unset it"),
    (
        FileMetadataError,
        "the server at {endpoint} is not a Hub",
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
    (httpx2.RemoteProtocolError, "{endpoint} closed the connection", "try again"),
    (httpx2.HTTPError, "{endpoint} cannot be reached", NETWORK),
)


def explained(
    error: Exception, reference: HubReference | None, offline: Sequence[str]
) -> CheckpointError:
    """Our error for a failure. `offline` are the checkpoints that work without a network.

    Without a `reference`, a search has failed.
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
    for kind, error_class, sentence in REFUSALS:
        if any(isinstance(cause, kind) for cause in causes):
            return error_class(sentence.format(**names))
    for cause in causes:
        if isinstance(cause, HfHubHTTPError):
            return _by_status(cause, reference, offline)
    return _unreachable(*connection_failure(error), reference, offline)


def connection_failure(error: Exception) -> tuple[str, str]:
    """Why the Hub did not answer, and the next step."""
    causes = tuple(causes_of(error))
    for kinds, reason, step in SILENCES:
        if any(isinstance(cause, kinds) for cause in causes):
            return reason.format(endpoint=constants.ENDPOINT), step
    return f"{constants.ENDPOINT} cannot be reached", NETWORK


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its chain of causes."""
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
            page = f"{constants.ENDPOINT}/{reference.repo}" if reference else "its settings"
            return AccessError(
                f"{answer}: this account may not read it; request access at {page}, "
                "or use a token that may read gated repositories."
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            return _unreachable(answer, f"wait a few minutes, or {LOG_IN}", reference, offline)
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _unreachable(answer, "try again in a minute", reference, offline)
    return CheckpointError(f"{answer}; check the reference and HF_ENDPOINT.")


def phrase(status: int) -> str:
    """The standard phrase of an HTTP status."""
    known = {code.value: code.phrase for code in HTTPStatus}
    return known.get(status, "unknown")


def _unreachable(
    reason: str, step: str, reference: HubReference | None, offline: Sequence[str]
) -> UnreachableError:
    need = (
        f"the cache has no complete copy of {reference}" if reference else "a search needs the Hub"
    )
    return UnreachableError(
        f"{upper(reason)}, and {need}; {step}, or choose one that works offline: "
        f"{', '.join(offline)}."
    )


def upper(text: str) -> str:
    """Capitalize the first letter, except of a web address."""
    return text if text.startswith("http") else text[0].upper() + text[1:]
