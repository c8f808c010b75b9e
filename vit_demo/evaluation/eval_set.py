"""Which photos of a folder a checkpoint is scored on, and which of them it has seen before."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vit_demo.checkpoints.files import BEST, SUMMARY, read_json
from vit_demo.data.folder import PhotoFolder, Sample, relative_names, scan_all
from vit_demo.errors import DataError, nearest


@dataclass(frozen=True)
class EvalSet:
    """The photos to score, their classes numbered as the checkpoint numbers them.

    `unknown` counts the photos of classes that the checkpoint does not know, which are the
    `ood`; `missing` the held-out photos that are not in the folder. `trained_on` of the
    samples were learnt from, as far as `choose` can tell; None where it cannot.
    """

    folder: Path
    samples: tuple[Sample, ...]
    unknown: Mapping[str, int]
    held_out: bool = False
    trained_on: int | None = 0
    missing: int = 0
    ood: tuple[Path, ...] = ()


def summary_of(folder: Path) -> Path | None:
    """The summary of the run that wrote a checkpoint; the best epoch's lies a folder higher."""
    for place in (folder, *([folder.resolve().parent] if folder.resolve().name == BEST else [])):
        if (place / SUMMARY).exists():
            return place / SUMMARY
    return None


def trained_in(folder: Path) -> Path | None:
    """The folder of photos that a checkpoint learnt in, as its run was given it, if that is known.

    A relative one is taken from where this process runs, as it was taken from where the run did.
    """
    path = summary_of(folder)
    data = read_json(path, f"'{folder}'").get("data") if path else None
    return Path(data) if isinstance(data, str) else None


def held_out_photos(folder: Path) -> frozenset[str]:
    """The photos, as "class/file.jpg", that a checkpoint's training left out to score itself on.

    Raises DataError where the checkpoint's folder has no such list.
    """
    path = summary_of(folder)
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["held_out_photos"] if path else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' lists no held-out photos ({error!r}); mend the file.") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f"'{folder}' has no {SUMMARY} that lists held-out photos; leave out --held-out, and "
            "score it on photos that it has not learnt from."
        )
    return frozenset(names)


def choose(
    folder: Path,
    labels: Sequence[str],
    listed: frozenset[str] = frozenset(),
    held_out: bool = False,
    learnt_in: Path | None = None,
) -> EvalSet:
    """Find the photos of a folder of classes, matched to a checkpoint's `labels` by name.

    `listed` are the checkpoint's held-out photos; with `held_out` only they are chosen. A folder
    that holds some of them is the one that it learnt in, so that it learnt from all others there.
    A folder that holds none may be another one, a part or a copy of that one: its files are then
    compared, byte by byte, with those that were learnt from, if `learnt_in` still holds them. A
    copy that was saved anew passes for another photo. Without a list nothing is known, and
    nothing counted.

    Raises DataError where no class is known, where a label is ambiguous, or where nothing is left.
    """
    photos = scan_all(folder)
    known = _match(photos, labels, folder)
    unknown = Counter(photos.labels[label] for _, label in photos.samples if label not in known)
    samples = tuple((path, known[label]) for path, label in photos.samples if label in known)
    names = relative_names(samples, folder)
    kept = tuple(sample for sample, name in zip(samples, names, strict=True) if name in listed)
    if held_out and not kept:
        raise DataError(
            f"None of the {len(listed)} held-out photos is in '{folder}'; name the folder that "
            "the checkpoint was trained on, or leave out --held-out."
        )
    return EvalSet(
        folder=folder,
        samples=kept if held_out else samples,
        unknown=dict(unknown),
        held_out=held_out,
        trained_on=_trained_on(samples, kept, listed, learnt_in) if not held_out else 0,
        missing=len(listed.difference(names)) if held_out else 0,
        ood=tuple(path for path, label in photos.samples if label not in known),
    )


def _trained_on(
    samples: Sequence[Sample],
    kept: Sequence[Sample],
    listed: frozenset[str],
    learnt_in: Path | None,
) -> int | None:
    if kept or not listed:
        return len(samples) - len(kept) if kept else 0
    learnt = _learnt_from(learnt_in, listed) if learnt_in is not None else None
    if learnt is None:
        return None
    files = [path for path, _ in samples if path.is_file()]
    # Only files of one size can be the same, and few others are of one size.
    sizes = {path.stat().st_size for path in files}
    alike = [path for path in learnt if path.is_file() and path.stat().st_size in sizes]
    known = set(_digests(alike))
    return sum(digest in known for digest in _digests(files))


def _learnt_from(folder: Path, listed: frozenset[str]) -> list[Path] | None:
    """The photos of a folder that are not `listed`; None for one that holds none that are."""
    try:
        photos = scan_all(folder)
    except DataError:
        # It has been moved, or emptied, since the run.
        return None
    names = relative_names(photos.samples, folder)
    if listed.isdisjoint(names):
        return None
    paired = zip(photos.samples, names, strict=True)
    return [path for (path, _), name in paired if name not in listed]


def _digests(paths: Iterable[Path]) -> Iterator[bytes]:
    """What tells the contents of files apart; a file that cannot be opened is passed over."""
    for path in paths:
        with suppress(OSError):
            yield hashlib.sha256(path.read_bytes()).digest()


def _match(photos: PhotoFolder, labels: Sequence[str], folder: Path) -> dict[int, int]:
    """From the folder's number of a class to the checkpoint's."""
    for name in photos.labels:
        if labels.count(name) > 1:
            raise DataError(
                f"The checkpoint has {labels.count(name)} classes called '{name}', so its photos "
                f"cannot be judged; take that folder out of '{folder}'."
            )
    known = {
        number: labels.index(name) for number, name in enumerate(photos.labels) if name in labels
    }
    if not known:
        raise DataError(
            f"The checkpoint knows none of the classes in '{folder}' "
            f"({', '.join(photos.labels[:5])}); for '{photos.labels[0]}', "
            f"{nearest(photos.labels[0], list(labels))}"
        )
    return known
