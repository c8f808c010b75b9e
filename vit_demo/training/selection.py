"""Which photos of a folder a checkpoint is scored on, and which of them it has seen before."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vit_demo.errors import DataError, nearest
from vit_demo.training.folder import PhotoFolder, Sample, scan_all
from vit_demo.training.run import BEST, SUMMARY, names_of


@dataclass(frozen=True)
class Chosen:
    """The photos to score, their classes numbered as the checkpoint numbers them.

    `unknown` counts the photos of classes that the checkpoint does not know, which are the
    `strangers`; `missing` the held-out photos that are not in the folder. `trained_on` of the
    samples were learnt from, as far as the checkpoint's own list of held-out photos says so.
    """

    folder: Path
    samples: tuple[Sample, ...]
    unknown: Mapping[str, int]
    held_out: bool = False
    trained_on: int = 0
    missing: int = 0
    strangers: tuple[Path, ...] = ()


def summary_of(folder: Path) -> Path | None:
    """The summary of the run that wrote a checkpoint; the best epoch's lies a folder higher."""
    for place in (folder, *([folder.resolve().parent] if folder.resolve().name == BEST else [])):
        if (place / SUMMARY).exists():
            return place / SUMMARY
    return None


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
) -> Chosen:
    """Find the photos of a folder of classes, matched to a checkpoint's `labels` by name.

    `listed` are the checkpoint's held-out photos; with `held_out` only they are chosen. Raises
    DataError where no class is known, where a label is ambiguous, or where nothing is left.
    """
    photos = scan_all(folder)
    known = _match(photos, labels, folder)
    unknown = Counter(photos.labels[label] for _, label in photos.samples if label not in known)
    samples = tuple((path, known[label]) for path, label in photos.samples if label in known)
    names = names_of(samples, folder)
    kept = tuple(sample for sample, name in zip(samples, names, strict=True) if name in listed)
    if held_out and not kept:
        raise DataError(
            f"None of the {len(listed)} held-out photos is in '{folder}'; name the folder that "
            "the checkpoint was trained on, or leave out --held-out."
        )
    return Chosen(
        folder=folder,
        samples=kept if held_out else samples,
        unknown=dict(unknown),
        held_out=held_out,
        trained_on=len(samples) - len(kept) if kept and not held_out else 0,
        missing=len(listed.difference(names)) if held_out else 0,
        strangers=tuple(path for path, label in photos.samples if label not in known),
    )


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
