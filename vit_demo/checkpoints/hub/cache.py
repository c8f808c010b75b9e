"""Find checkpoints in the caches on this disk, and check that they are complete and undamaged.

The client's cache is shared with every other program that uses the client, so nothing is removed
from it. If it contains a damaged file, the checkpoint is downloaded again into this app's own
cache, which has the same structure:

models--owner--name/
  refs/main                   the commit of a branch or tag
  snapshots/<commit>/<file>   a link to its blob
  blobs/<hash>                SHA-256 of a large file, git's SHA-1 of a small one
  .no_exist/<commit>/<file>   known not to be in the repository
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from vit_demo.checkpoints.files import (
    CONFIG,
    LABELS,
    NESTED_PROCESSOR,
    PROCESSOR,
    read_json,
)
from vit_demo.checkpoints.hub.reference import (
    COMMIT,
    NEWEST,
    HubReference,
    Snapshot,
    is_repo,
    is_revision,
)
from vit_demo.checkpoints.hub.verified import intact, known_as_damaged, own_folder
from vit_demo.checkpoints.weights import weight_files
from vit_demo.errors import CheckpointError

# What is read of a checkpoint beside its weights.
SMALL = (CONFIG, PROCESSOR, NESTED_PROCESSOR, LABELS)

Accept = Callable[[dict[str, Any]], object]


def shared_root() -> Path:
    """The folder of the client's cache, as set by HF_HOME and related variables."""
    return Path(constants.HF_HUB_CACHE)


def own_root() -> Path:
    """This app's own cache, for checkpoints that are damaged in the shared cache."""
    return own_folder() / "copies"


def find(reference: HubReference, allow_pickle: bool) -> Snapshot | None:
    """The complete, undamaged copy of a checkpoint, or None; uses no network, removes nothing."""
    for snapshot in _newest(reference):
        if is_whole(snapshot.folder, allow_pickle) and all(
            intact(path) for path in _files(snapshot.folder)
        ):
            return snapshot
    return None


def peek(reference: HubReference, allow_pickle: bool) -> Snapshot | None:
    """Like `find`, but without reading all files: fast enough to look at the configuration.

    Damaged files are detected later, by `find`.
    """
    usable = (snapshot for snapshot in _newest(reference) if _usable(snapshot, allow_pickle))
    return next(usable, None)


def _newest(reference: HubReference) -> Iterator[Snapshot]:
    """Where the commit of a reference would be: in the shared cache, then in our own."""
    for root in (shared_root(), own_root()):
        folder = _repo_folder(root, reference.repo)
        commit = reference.revision if reference.pinned else _commit(folder, reference.revision)
        if commit is not None:
            yield Snapshot(reference, folder / "snapshots" / commit, commit)


def is_whole(folder: Path, allow_pickle: bool) -> bool:
    """Whether a snapshot has all files that are needed to load it.

    Without a processor file, the preprocessing is guessed, as in any other folder; see
    `processor_known`.
    """
    return _config(folder) is not None and bool(weight_files(folder, allow_pickle))


def processor_known(folder: Path) -> bool:
    """Whether a snapshot has a processor file, or is known to have none.

    A transformers checkpoint has its preprocessing in a separate file, which other programs may
    not have downloaded. With a network it is requested from the Hub, otherwise it is guessed.
    """
    if "model_type" not in (_config(folder) or {}):
        return True
    files = (PROCESSOR, NESTED_PROCESSOR)
    return any((folder / name).is_file() for name in files) or all(
        _absent(folder, name).is_file() for name in files
    )


def mark_complete(reference: HubReference, folder: Path, absent: tuple[str, ...]) -> Snapshot:
    """Record a complete snapshot: the commit of its branch, and the files that do not exist.

    The branch is updated only now, so that after a failed download the older copy is still used.
    """
    snapshot, repo_folder = Snapshot(reference, folder, folder.name), folder.parent.parent
    notes = {_absent(folder, name): "" for name in absent}
    if not reference.pinned:
        notes[repo_folder / "refs" / reference.revision] = snapshot.revision
    for path, content in notes.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="ascii")
    return snapshot


def cached(accept: Accept | None = None, allow_pickle: bool = False) -> list[Snapshot]:
    """The checkpoints that work offline, sorted by name; with `accept`, only accepted ones."""
    found: dict[str, Snapshot] = {}
    for snapshot in _snapshots():
        if _usable(snapshot, allow_pickle) and (
            accept is None or _accepted(_config(snapshot.folder) or {}, accept)
        ):
            found.setdefault(str(snapshot.reference), snapshot)
    return [found[name] for name in sorted(found)]


def remove(path: Path) -> None:
    """Remove a file that this app has written from a cache: its link and its blob."""
    if path.is_symlink():
        (path.parent / path.readlink()).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _usable(snapshot: Snapshot, allow_pickle: bool) -> bool:
    """Whether a snapshot is complete, and none of its files is known to be damaged."""
    return is_whole(snapshot.folder, allow_pickle) and not any(
        known_as_damaged(path) for path in _files(snapshot.folder)
    )


def _files(folder: Path) -> list[Path]:
    """The files of a snapshot that are loaded; pickled weights only if there are no others."""
    small = [folder / name for name in SMALL]
    weights = weight_files(folder, allow_pickle=True)
    return [*(path for path in small if path.is_file()), *weights]


def _repo_folder(root: Path, repo: str) -> Path:
    return root / "--".join(("models", *repo.split("/")))


def _absent(folder: Path, name: str) -> Path:
    return folder.parent.parent / ".no_exist" / folder.name / name


def _commit(folder: Path, revision: str) -> str | None:
    """The last known commit of a branch or tag."""
    note = folder / "refs" / revision
    commit = note.read_text(encoding="ascii", errors="replace").strip() if note.is_file() else ""
    return commit if COMMIT.fullmatch(commit) else None


def _config(folder: Path) -> dict[str, Any] | None:
    """The configuration of a snapshot; None if it is missing or cannot be read."""
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
    """Every commit in both caches, with the shortest reference that resolves to it offline."""
    for folder in (*shared_root().glob("models--*--*"), *own_root().glob("models--*--*")):
        repo = folder.name.removeprefix("models--").replace("--", "/")
        if not is_repo(repo):
            continue
        names = _revisions(folder)
        for snapshot in sorted((folder / "snapshots").glob("*")):
            if COMMIT.fullmatch(snapshot.name):
                reference = HubReference(repo, names.get(snapshot.name, snapshot.name))
                yield Snapshot(reference, snapshot, snapshot.name)


def _revisions(folder: Path) -> dict[str, str]:
    """Commits with their branch or tag; `main` if a commit has several."""
    refs = folder / "refs"
    names = [path.relative_to(refs).as_posix() for path in sorted(refs.rglob("*"))]
    commits = {name: _commit(folder, name) for name in (*names, NEWEST) if is_revision(name)}
    return {commit: name for name, commit in commits.items() if commit is not None}
