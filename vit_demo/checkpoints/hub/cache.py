"""The client's cache on this disk: which checkpoints are whole, and whether their bytes are.

models--owner--name/
  refs/main                   the commit that a branch or tag stood for
  snapshots/<commit>/<file>   a link to its blob
  blobs/<hash>                SHA-256 of a large file, git's SHA-1 of a small one
  .no_exist/<commit>/<file>   known not to be in the repository
"""

import re
from collections.abc import Callable, Iterator
from hashlib import file_digest, sha1
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from vit_demo.checkpoints.files import CONFIG, LABELS, PICKLE, PROCESSOR, WEIGHTS, read_json
from vit_demo.checkpoints.hub.reference import (
    COMMIT,
    NEWEST,
    HubReference,
    Snapshot,
    is_repo,
    is_revision,
)
from vit_demo.errors import CheckpointError

SHA256, GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")

Accept = Callable[[dict[str, Any]], object]


def root() -> Path:
    """The folder of the cache, as HF_HOME and its kin say."""
    return Path(constants.HF_HUB_CACHE)


def find(reference: HubReference, allow_pickle: bool) -> Snapshot | None:
    """The whole copy of a checkpoint, or None; asks nobody.

    Damaged files are removed on the way, so what is returned can be trusted.
    """
    snapshot = _newest(reference)
    if snapshot is not None:
        damaged = [path for path in _files(snapshot.folder, allow_pickle) if not intact(path)]
        for path in damaged:
            remove(path)
    return snapshot if snapshot and is_whole(snapshot.folder, allow_pickle) else None


def peek(reference: HubReference, allow_pickle: bool) -> Snapshot | None:
    """The same without reading the files through: quick, and good for a look at the configuration.

    What is damaged shows when it is fetched.
    """
    snapshot = _newest(reference)
    return snapshot if snapshot and is_whole(snapshot.folder, allow_pickle) else None


def _newest(reference: HubReference) -> Snapshot | None:
    """Where the commit that a reference stands for would lie."""
    folder = _repo_folder(reference.repo)
    commit = reference.revision if reference.pinned else _commit(folder, reference.revision)
    return Snapshot(reference, folder / "snapshots" / commit, commit) if commit else None


def is_whole(folder: Path, allow_pickle: bool) -> bool:
    """Whether nothing that reading needs is missing from a snapshot.

    A transformers checkpoint keeps its preprocessing in a file of its own, and without it would
    be read with the wrong one: that file must be here, or be known not to exist.
    """
    weights = (WEIGHTS, PICKLE) if allow_pickle else (WEIGHTS,)
    config_json = _config(folder)
    if config_json is None or not any((folder / name).is_file() for name in weights):
        return False
    processor_known = (folder / PROCESSOR).is_file() or _absent(folder, PROCESSOR).is_file()
    return processor_known or "model_type" not in config_json


def mark_complete(reference: HubReference, folder: Path, absent: tuple[str, ...]) -> Snapshot:
    """Note a snapshot that has become whole: what its branch stands for, and what it lacks.

    The branch moves only now, so that a broken download leaves the older copy in use.
    """
    snapshot = Snapshot(reference, folder, folder.name)
    notes = {_absent(folder, name): "" for name in absent}
    if not reference.pinned:
        notes[_repo_folder(reference.repo) / "refs" / reference.revision] = snapshot.revision
    for path, content in notes.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="ascii")
    return snapshot


def cached(accept: Accept | None = None, allow_pickle: bool = False) -> list[Snapshot]:
    """The checkpoints that work offline, by name; with `accept`, only those it does not refuse."""
    return [
        snapshot
        for snapshot in _snapshots()
        if is_whole(snapshot.folder, allow_pickle)
        and (accept is None or _accepted(_config(snapshot.folder) or {}, accept))
    ]


def intact(path: Path, sha256: str | None = None) -> bool:
    """Whether a file holds what it should: `sha256`, or the hash that its blob is named after.

    Where the cache has no links (Windows), or a mirror other names, there is nothing to compare.
    """
    name = sha256 or (path.readlink().name if path.is_symlink() else "")
    with path.open("rb") as file:
        if SHA256.fullmatch(name):
            return file_digest(file, "sha256").hexdigest() == name
        if GIT_SHA1.fullmatch(name):
            start = b"blob %d\0" % path.stat().st_size
            return file_digest(file, lambda: sha1(start)).hexdigest() == name
    return True


def remove(path: Path) -> None:
    """Take a file out of the cache: its link, its blob, and what the blob may link to."""
    target = path.resolve()
    if path.is_symlink():
        (path.parent / path.readlink()).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    target.unlink(missing_ok=True)


def _files(folder: Path, allow_pickle: bool) -> list[Path]:
    names = (CONFIG, PROCESSOR, LABELS, WEIGHTS, *((PICKLE,) if allow_pickle else ()))
    return [folder / name for name in names if (folder / name).is_file()]


def _repo_folder(repo: str) -> Path:
    return root() / "--".join(("models", *repo.split("/")))


def _absent(folder: Path, name: str) -> Path:
    return folder.parent.parent / ".no_exist" / folder.name / name


def _commit(folder: Path, revision: str) -> str | None:
    """The commit that a branch or tag stood for when it was last seen."""
    note = folder / "refs" / revision
    commit = note.read_text(encoding="ascii", errors="replace").strip() if note.is_file() else ""
    return commit if COMMIT.fullmatch(commit) else None


def _config(folder: Path) -> dict[str, Any] | None:
    """The configuration of a snapshot; None when there is none that can be read."""
    try:
        return read_json(folder / CONFIG, folder.name)
    except CheckpointError:
        return None


def _accepted(config_json: dict[str, Any], accept: Accept) -> bool:
    try:
        accept(config_json)
    except CheckpointError:
        return False
    return True


def _snapshots() -> Iterator[Snapshot]:
    """Every commit in the cache, under the shortest name that leads to it without a network."""
    for folder in sorted(root().glob("models--*--*")):
        repo = folder.name.removeprefix("models--").replace("--", "/")
        if not is_repo(repo):
            continue
        names = _revisions(folder)
        for snapshot in sorted((folder / "snapshots").glob("*")):
            if COMMIT.fullmatch(snapshot.name):
                reference = HubReference(repo, names.get(snapshot.name, snapshot.name))
                yield Snapshot(reference, snapshot, snapshot.name)


def _revisions(folder: Path) -> dict[str, str]:
    """Commits and the branch or tag that stands for each; `main` where it is one of several."""
    refs = folder / "refs"
    names = [path.relative_to(refs).as_posix() for path in sorted(refs.rglob("*"))]
    commits = {name: _commit(folder, name) for name in (*names, NEWEST) if is_revision(name)}
    return {commit: name for name, commit in commits.items() if commit is not None}
