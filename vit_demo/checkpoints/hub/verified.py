"""Verify the hashes of cached files once, and store the results.

A result is stored as a small JSON file in this app's own folder, not among the client's files. It
is valid only while the file's path, size, modification time and expected hash are unchanged;
otherwise the file is hashed again.
"""

import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import file_digest, sha1, sha256
from pathlib import Path

from huggingface_hub import constants

from vit_demo.checkpoints.files import read_json, write_json
from vit_demo.errors import CheckpointError

SHA256, GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class FileState:
    """The state of a file and its expected hash, which is empty if unknown."""

    path: str
    size: int
    mtime_ns: int
    expected: str


def own_folder() -> Path:
    """This app's own folder in the client's assets cache, which has one for each library."""
    return Path(constants.HF_ASSETS_CACHE) / "vit_demo" / "hub"


def intact(path: Path, expected: str | None = None) -> bool:
    """Whether a file has the expected hash, or the hash in the name of its blob.

    If the cache has no links (Windows), or a mirror uses other names, there is no expected hash;
    then only a stored result counts.
    """
    state = _state(path, expected)
    result = _recorded(state)
    if result is not None or not state.expected:
        return result is not False
    result = _digest(state) == state.expected
    _record(state, result)
    return result


def known_as_damaged(path: Path) -> bool:
    """Whether a stored result says that a file is damaged; does not read the file."""
    return _recorded(_state(path)) is False


def _state(path: Path, expected: str | None = None) -> FileState:
    """The current state of the file that a link points to."""
    expected = expected or (path.readlink().name if path.is_symlink() else "")
    known = SHA256.fullmatch(expected) or GIT_SHA1.fullmatch(expected)
    file = path.resolve()
    status = file.stat()
    return FileState(str(file), status.st_size, status.st_mtime_ns, expected if known else "")


def _digest(state: FileState) -> str:
    """The SHA-256 of a file, or git's SHA-1 of a blob, according to the expected hash."""
    start = b"blob %d\0" % state.size
    with Path(state.path).open("rb") as file:
        if SHA256.fullmatch(state.expected):
            return file_digest(file, "sha256").hexdigest()
        return file_digest(file, lambda: sha1(start)).hexdigest()


def _recorded(state: FileState) -> bool | None:
    """The stored result for a file; None if there is none or the file has changed since."""
    try:
        record = read_json(_record_file(state), state.path)
    except CheckpointError:
        return None
    result = record.pop("intact", None)
    current = asdict(state)
    if not state.expected:
        current["expected"] = record.get("expected")
    return result if isinstance(result, bool) and record == current else None


def _record(state: FileState, result: bool) -> None:
    """Store a result; if it cannot be written, the next load hashes the file again."""
    path = _record_file(state)
    with suppress(OSError, ValueError):  # ValueError: a path that is not valid Unicode
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**asdict(state), "intact": result})


def _record_file(state: FileState) -> Path:
    """The file with the result for a path; a changed file overwrites it."""
    return own_folder() / "verified" / f"{sha256(os.fsencode(state.path)).hexdigest()}.json"
