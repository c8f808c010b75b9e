"""Upload a checkpoint's folder to a Hub repository, in one commit, with the Hub's own client.

The client finds the access token itself (HF_TOKEN, `hf auth login`); it is never an argument.
`refused` turns the client's errors into one-sentence errors of this package.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import disable_progress_bars, logging

from vit_demo.checkpoints import load_folder
from vit_demo.checkpoints.files import CONFIG, PROCESSOR, SUMMARY, WEIGHTS
from vit_demo.checkpoints.hub import HubReference
from vit_demo.checkpoints.hub.faults import LOG_IN, causes_of, connection_failure, phrase, upper
from vit_demo.errors import AccessError, DemoError, PublishError, UnreachableError
from vit_demo.evaluation.report import CONFUSION, RELIABILITY
from vit_demo.publishing.model_card import CARD
from vit_demo.training.run import CURVES

# The files that are uploaded; other files in the folder are not.
PUBLISHED = (CARD, CONFIG, PROCESSOR, WEIGHTS, SUMMARY, CURVES, CONFUSION, RELIABILITY)
NEEDED = (CARD, CONFIG, WEIGHTS)

# Default names of unnamed classes in both layouts.
UNNAMED = re.compile(r"(LABEL|class)_\d+")

KIND = "image-classification"
ANSWER_SECONDS = 8.0

# The client also raises ValueError for a card that the Hub refuses; RuntimeError wraps an upload
# that was interrupted.
FAULTS = (httpx2.HTTPError, httpx2.InvalidURL, OSError, RuntimeError)


@dataclass(frozen=True)
class Published:
    """A published checkpoint."""

    address: str
    commit: str
    files: tuple[str, ...]
    left_here: tuple[str, ...]


def publish(folder: Path, name: str, private: bool = False) -> Published:
    """Upload a checkpoint's folder as the repository `owner/name`, which is created if needed.

    Raises PublishError for a folder without a complete checkpoint, labels and a card, and for a
    name that is in use for something else; AccessError without a token or write access;
    UnreachableError if the Hub does not answer; CheckpointError for an invalid name.
    """
    repo = HubReference(name).repo
    files = check_folder(folder)
    if get_token() is None:
        raise AccessError(
            f"Publishing needs an access token; {LOG_IN}, with a token that has write access."
        )
    logging.set_verbosity_error()
    disable_progress_bars()
    api = HfApi()
    with refused(repo):
        _ensure_repository(api, repo, private)
        additions = [CommitOperationAdd(path_in_repo=n, path_or_fileobj=folder / n) for n in files]
        commit = api.create_commit(repo, additions, commit_message="Upload an image classifier")
    return Published(
        address=f"{constants.ENDPOINT}/{repo}",
        commit=commit.oid,
        files=files,
        left_here=tuple(sorted(p.name for p in folder.iterdir() if p.name not in files)),
    )


def check_folder(folder: Path) -> tuple[str, ...]:
    """The files to upload; raises PublishError if the checkpoint is not complete."""
    if not folder.is_dir():
        raise PublishError(f"There is no folder '{folder}'; name one with a checkpoint.")
    for name in NEEDED:
        if not (folder / name).is_file():
            step = "; write one with: python -m vit_demo evaluate --card" if name == CARD else ""
            raise PublishError(
                f"'{folder}' has no {name}, which a published checkpoint needs{step}."
            )
    labels = load_folder(folder).labels
    if all(UNNAMED.fullmatch(label) for label in labels):
        raise PublishError(
            f"'{folder}' does not name its {len(labels)} classes, so its predictions would have no "
            f"meaning; write the names into {CONFIG}."
        )
    if not (folder / CARD).read_text(encoding="utf-8", errors="replace").strip():
        raise PublishError(f"'{folder / CARD}' is empty; describe the checkpoint in it.")
    return tuple(name for name in PUBLISHED if (folder / name).is_file())


def _ensure_repository(api: HfApi, repo: str, private: bool) -> None:
    """Create the repository, or check that the existing one is for an image classifier."""
    try:
        info = api.model_info(repo, timeout=ANSWER_SECONDS)
    except RepositoryNotFoundError:
        api.create_repo(repo, private=private)
        return
    if info.pipeline_tag not in (None, KIND):
        raise PublishError(
            f"{constants.ENDPOINT}/{repo} contains a model for another task ({info.pipeline_tag}) "
            "and is not changed; choose another name."
        )


@contextmanager
def refused(repo: str) -> Iterator[None]:
    """Turn errors of the client into errors of this package, with one sentence each."""
    try:
        yield
    except DemoError:
        raise
    except ValueError as error:
        raise PublishError(f"{repo} was not published: {_one_line(str(error))}.") from error
    except FAULTS as error:
        for cause in causes_of(error):
            if isinstance(cause, HfHubHTTPError):
                raise _by_status(cause, repo) from error
        if type(error) is ConnectionError:  # hf_xet raises it for every reason
            raise UnreachableError(
                f"The upload to {repo} was interrupted ({_one_line(str(error))}), and nothing was "
                "published; try again, or set HF_HUB_DISABLE_XET=1 to upload without Xet."
            ) from error
        if isinstance(error, RuntimeError):
            raise PublishError(f"{repo} was not published: {_one_line(str(error))}.") from error
        reason, step = connection_failure(error)
        raise UnreachableError(f"{upper(reason)}, so {repo} was not published; {step}.") from error


def _by_status(error: HfHubHTTPError, repo: str) -> DemoError:
    status = error.response.status_code
    owner = repo.partition("/")[0]
    where = f"{constants.ENDPOINT}/{repo}"
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return AccessError(
                f"{constants.ENDPOINT} refuses the access token, which may have expired; "
                f"{LOG_IN}, with a token that has write access."
            )
        case HTTPStatus.FORBIDDEN:
            return AccessError(
                f"This access token may not write to {where}; publish under your own name, or use "
                f"a token that may write for '{owner}'."
            )
        case HTTPStatus.NOT_FOUND:
            return AccessError(
                f"{where} cannot be created or read with this access token; check that '{owner}' "
                "exists and that the token has write access to it."
            )
        case HTTPStatus.CONFLICT:
            return PublishError(
                f"The name '{repo}' is in use on {constants.ENDPOINT} for a repository of another "
                "type, or for one that this token cannot read; choose another name."
            )
    response = f"{constants.ENDPOINT} answered {status} ({phrase(status)})"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return UnreachableError(f"{response}, so {repo} was not published; try again in a minute.")
    reason = _one_line(error.server_message or "without a reason")
    return PublishError(f"{response}, so {repo} was not published: {reason}.")


def _one_line(words: str) -> str:
    return " ".join(words.split()).rstrip(".")
