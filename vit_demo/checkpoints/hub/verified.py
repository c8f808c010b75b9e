"""Which cached files hold what they should: each is read through once, and the result is kept.

A record is a small JSON file in a folder of this app's own, never among the client's files. It
counts only while the file has the path, the size, the modification time and the expected hash
that it had when it was read; otherwise the file is read again.
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
    """What a record is about: a file as the disk describes it, and the hash it should have.

    The hash is empty where none is known.
    """

    path: str
    size: int
    mtime_ns: int
    expected: str


def own_folder() -> Path:
    """Where this app keeps files of its own; the client reserves such a folder for each library."""
    return Path(constants.HF_ASSETS_CACHE) / "vit_demo" / "hub"


def intact(path: Path, expected: str | None = None) -> bool:
    """Whether a file has the expected hash, or the one that its blob is named after.

    Where the cache has no links (Windows), or a mirror other names, there is nothing to compare;
    then only what was found before counts.
    """
    state = _state(path, expected)
    result = _recorded(state)
    if result is not None or not state.expected:
        return result is not False
    result = _digest(state) == state.expected
    _record(state, result)
    return result


def known_as_damaged(path: Path) -> bool:
    """Whether a file was found damaged and has not changed since; it is not read for this."""
    return _recorded(_state(path)) is False


def _state(path: Path, expected: str | None = None) -> FileState:
    """The file behind a link, as it is now."""
    expected = expected or (path.readlink().name if path.is_symlink() else "")
    known = SHA256.fullmatch(expected) or GIT_SHA1.fullmatch(expected)
    file = path.resolve()
    status = file.stat()
    return FileState(str(file), status.st_size, status.st_mtime_ns, expected if known else "")


def _digest(state: FileState) -> str:
    """SHA-256, or git's SHA-1 of a blob: whichever the expected hash is."""
    start = b"blob %d\0" % state.size
    with Path(state.path).open("rb") as file:
        if SHA256.fullmatch(state.expected):
            return file_digest(file, "sha256").hexdigest()
        return file_digest(file, lambda: sha1(start)).hexdigest()


def _recorded(state: FileState) -> bool | None:
    """What was found when the file was read; None where it never was, or has changed since."""
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
    """Keep what was found; where nothing can be written, the next load reads the file again."""
    path = _record_file(state)
    with suppress(OSError, ValueError):  # ValueError: a path that is no Unicode
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**asdict(state), "intact": result})


def _record_file(state: FileState) -> Path:
    """One record for a path, so that a file that changes has its record replaced."""
    return own_folder() / "verified" / f"{sha256(os.fsencode(state.path)).hexdigest()}.json"
