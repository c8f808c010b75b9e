"""Select the photos to evaluate a checkpoint on, and detect its training photos among them."""

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
    """The photos to evaluate, with the class numbers of the checkpoint.

    `unknown` counts the photos of classes that the checkpoint does not know; `ood` are these
    photos. `missing` is the number of held-out photos that are not in the folder. `trained_on` is
    the number of samples that are training photos, None if `choose` cannot tell.
    """

    folder: Path
    samples: tuple[Sample, ...]
    unknown: Mapping[str, int]
    held_out: bool = False
    trained_on: int | None = 0
    missing: int = 0
    ood: tuple[Path, ...] = ()


def summary_of(folder: Path) -> Path | None:
    """The summary file of a checkpoint's training run; for the best epoch it is one level up."""
    for parent in (folder, *([folder.resolve().parent] if folder.resolve().name == BEST else [])):
        if (parent / SUMMARY).exists():
            return parent / SUMMARY
    return None


def trained_in(folder: Path) -> Path | None:
    """The data folder of a checkpoint's training run, as it was given, or None if unknown.

    A relative path is relative to the current directory.
    """
    path = summary_of(folder)
    data = read_json(path, f"'{folder}'").get("data") if path else None
    return Path(data) if isinstance(data, str) else None


def held_out_photos(folder: Path) -> frozenset[str]:
    """The photos held out from a checkpoint's training, as "class/file.jpg".

    Raises DataError if the checkpoint's folder has no such list.
    """
    path = summary_of(folder)
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["held_out_photos"] if path else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"'{path}' has no valid list of held-out photos ({error!r}); repair the file."
        ) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f"'{folder}' has no {SUMMARY} with a list of held-out photos; leave --held-out out, "
            "and evaluate it on photos that it was not trained on."
        )
    return frozenset(names)


def choose(
    folder: Path,
    labels: Sequence[str],
    listed: frozenset[str] = frozenset(),
    held_out: bool = False,
    training_folder: Path | None = None,
) -> EvalSet:
    """Select the photos of a folder of classes, matched to a checkpoint's `labels` by name.

    `listed` are the checkpoint's held-out photos; with `held_out` only they are selected. If the
    folder contains some of them, it is the training folder, so all other photos in it are training
    photos. Otherwise it may be a different folder, or a part or copy of the training folder: its
    files are then compared by hash with the training photos, if these are still in
    `training_folder`. A recompressed copy is not detected. Without a list, training photos are not
    counted.

    Raises DataError if no class is known, a label is ambiguous, or no photo is left.
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
            "the checkpoint was trained on, or leave --held-out out."
        )
    return EvalSet(
        folder=folder,
        samples=kept if held_out else samples,
        unknown=dict(unknown),
        held_out=held_out,
        trained_on=_trained_on(samples, kept, listed, training_folder) if not held_out else 0,
        missing=len(listed.difference(names)) if held_out else 0,
        ood=tuple(path for path, label in photos.samples if label not in known),
    )


def _trained_on(
    samples: Sequence[Sample],
    kept: Sequence[Sample],
    listed: frozenset[str],
    training_folder: Path | None,
) -> int | None:
    if kept or not listed:
        return len(samples) - len(kept) if kept else 0
    training = _training_photos(training_folder, listed) if training_folder is not None else None
    if training is None:
        return None
    files = [path for path, _ in samples if path.is_file()]
    # Hash only training files with a matching size: identical files have the same size.
    sizes = {path.stat().st_size for path in files}
    candidates = [path for path in training if path.is_file() and path.stat().st_size in sizes]
    known = set(_digests(candidates))
    return sum(digest in known for digest in _digests(files))


def _training_photos(folder: Path, listed: frozenset[str]) -> list[Path] | None:
    """The photos of a folder that are not `listed`; None if none of the `listed` is in it."""
    try:
        photos = scan_all(folder)
    except DataError:
        # The folder was moved or emptied after the run.
        return None
    names = relative_names(photos.samples, folder)
    if listed.isdisjoint(names):
        return None
    paired = zip(photos.samples, names, strict=True)
    return [path for (path, _), name in paired if name not in listed]


def _digests(paths: Iterable[Path]) -> Iterator[bytes]:
    """The hashes of files; files that cannot be opened are skipped."""
    for path in paths:
        with suppress(OSError):
            yield hashlib.sha256(path.read_bytes()).digest()


def _match(photos: PhotoFolder, labels: Sequence[str], folder: Path) -> dict[int, int]:
    """Map the folder's class numbers to those of the checkpoint."""
    for name in photos.labels:
        if labels.count(name) > 1:
            raise DataError(
                f"The checkpoint has {labels.count(name)} classes called '{name}', so its photos "
                f"cannot be scored; remove that sub-folder from '{folder}'."
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
