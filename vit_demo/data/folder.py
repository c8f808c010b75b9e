"""Folders of photos, one sub-folder per class: what is found in them."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vit_demo.errors import LISTED, DataError, nearest

SUFFIXES = {
    ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic",
}  # fmt: skip

# A folder that holds one of each holds two sets of classes, already split: in any case, and with
# "set", "data", "images" or "photos" behind, as in "Training" or "test_set". Of several that are
# held out, the first in this order is taken.
TRAINING_NAMES = ("train", "training")
HELD_OUT_NAMES = ("val", "valid", "validation", "dev", "eval", "evaluation", "test", "testing")
BEHIND_A_NAME = re.compile(r"[ _-]?(set|data|images|photos)$")

FEWEST_CLASSES = 2

Sample = tuple[Path, int]


@dataclass(frozen=True)
class PhotoFolder:
    """Photos and the class each belongs to; classes are numbered in alphabetical order.

    `empty` are the sub-folders without any photo. `unreadable` have been left out of the samples.
    """

    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    empty: tuple[str, ...] = ()
    unreadable: tuple[Sample, ...] = ()

    def of(self, label: int) -> list[Sample]:
        """The photos of one class."""
        return [sample for sample in self.samples if sample[1] == label]

    def without(self, unreadable: Collection[Path]) -> "PhotoFolder":
        """The same without photos that cannot be read; DataError where a class has no others."""
        kept = replace(
            self,
            samples=tuple(sample for sample in self.samples if sample[0] not in unreadable),
            unreadable=tuple(sample for sample in self.samples if sample[0] in unreadable),
        )
        left = {label for _, label in kept.samples}
        for path, label in kept.unreadable:
            if label not in left:
                raise DataError(
                    f"None of the photos of the class '{self.labels[label]}' can be read, "
                    f"'{path}' for one; replace them, or take the class away."
                )
        return kept


def photos_in(folder: Path) -> list[Path]:
    """All photos at any depth of a folder, in order, but for what a leading dot hides."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def scan(folder: Path, leave_out: str | None = None) -> PhotoFolder:
    """Find the photos of a folder with one sub-folder per class, all but one if asked.

    Raises DataError when there are fewer than two classes with photos in them, when the
    sub-folders are no classes but hold some, or when the one to leave out is not among them.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'; name one with a sub-folder per class.")
    found = {child.name: photos_in(child) for child in _sub_folders(folder)}
    _check_classes(folder, found)
    if leave_out is not None and not found.pop(leave_out, None):
        raise DataError(f"'{folder}' has no class '{leave_out}'; {nearest(leave_out, list(found))}")
    labels = tuple(label for label, paths in found.items() if paths)
    empty = tuple(label for label, paths in found.items() if not paths)
    if len(labels) < FEWEST_CLASSES:
        none = f" (there are none in: {', '.join(empty)})" if empty else ""
        raise DataError(
            f"'{folder}' holds photos of {len(labels)} {'class' if len(labels) == 1 else 'classes'}"
            f"{none} and at least {FEWEST_CLASSES} are needed; put each class's photos into a "
            "sub-folder of its name."
        )
    samples = tuple((path, labels.index(label)) for label in labels for path in found[label])
    return PhotoFolder(labels, samples, empty)


def scan_all(data: Path) -> PhotoFolder:
    """All photos of a folder of classes, or of both parts of one that its owner has split."""
    found = parts(data)
    return PhotoFolder(found[0].labels, tuple(sample for part in found for sample in part.samples))


def parts(data: Path, leave_out: str | None = None) -> tuple[PhotoFolder, ...]:
    """One folder of classes; or a part to learn from and one held out, as its owner has split it.

    Raises DataError where `scan` does, and where the two parts have photos of different classes.
    """
    pair = _pair(data)
    if pair is None:
        return (scan(data, leave_out),)
    first, second = (scan(part, leave_out) for part in pair)
    if first.labels != second.labels:
        odd = sorted(set(first.labels) ^ set(second.labels))
        raise DataError(
            f"'{pair[0]}' and '{pair[1]}' must hold the same classes, and only one of them has "
            f"photos of: {', '.join(odd)}."
        )
    return tuple(
        replace(photos, empty=tuple(f"{part.name}/{name}" for name in photos.empty))
        for part, photos in zip(pair, (first, second), strict=True)
    )


def _pair(data: Path) -> tuple[Path, Path] | None:
    """The part to learn from and the one that is held out, if the names of both are there."""
    if not data.is_dir():
        return None
    training, held_out = (
        [child for name in names for child in _sub_folders(data) if split_name(child.name) == name]
        for names in (TRAINING_NAMES, HELD_OUT_NAMES)
    )
    if not training or not held_out:
        return None
    alike = [path for path in held_out if split_name(path.name) == split_name(held_out[0].name)]
    for several in (training, alike):
        if len(several) > 1:
            names = " and ".join(f"'{path.name}'" for path in several)
            raise DataError(
                f"'{data}' holds {names}, which mean the same part; put their photos together."
            )
    return training[0], held_out[0]


def split_name(name: str) -> str | None:
    """The part of a split that a folder's name means, in small letters; None for any other."""
    plain = BEHIND_A_NAME.sub("", name.casefold().strip())
    return plain if plain in (*TRAINING_NAMES, *HELD_OUT_NAMES) else None


def _sub_folders(folder: Path) -> list[Path]:
    """In order, but for what a leading dot hides."""
    return [
        child
        for child in sorted(folder.iterdir())
        if child.is_dir() and not child.name.startswith(".")
    ]


def _check_classes(folder: Path, found: Mapping[str, list[Path]]) -> None:
    """Raise DataError where sub-folders with photos are parts of a split, or hold the classes."""
    with_photos = [name for name, paths in found.items() if paths]
    if not with_photos:
        return
    listed = _listed(with_photos)
    if all(split_name(name) for name in with_photos):
        raise DataError(
            f"'{folder}' holds {listed}, which are parts of a split and no classes; name one of "
            f"them, such as '{folder / with_photos[0]}', or give it a part to learn from "
            f"({', '.join(TRAINING_NAMES)}) and one that is held out ({', '.join(HELD_OUT_NAMES)})."
        )
    nested = {name: _nested(folder / name, found[name]) for name in with_photos}
    if all(nested.values()):
        first = with_photos[0]
        raise DataError(
            f"'{folder}' holds {listed}, and all photos of each lie in sub-folders, as in "
            f"'{first}': {_listed(nested[first])}. Where the classes are is not clear: name the "
            f"folder that holds them, such as '{folder / first}', or put the photos of each class "
            "directly into a sub-folder of its name. A split has the names "
            f"{', '.join(TRAINING_NAMES)} and {', '.join(HELD_OUT_NAMES)}."
        )


def _nested(folder: Path, photos: Sequence[Path]) -> list[str]:
    """The sub-folders that hold all photos of a folder; none where one lies directly in it."""
    parts = [path.relative_to(folder).parts for path in photos]
    return sorted({part[0] for part in parts}) if all(len(part) > 1 for part in parts) else []


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > LISTED else ""
    return ", ".join(f"'{name}'" for name in names[:LISTED]) + more


def relative_names(samples: Sequence[Sample], root: Path) -> list[str]:
    """Photos by their path from the folder of all classes, with `/`, as they are written down."""
    return [relative_name(path, root) for path, _ in samples]


def relative_name(path: Path, root: Path) -> str:
    """One photo's path from the folder of all classes."""
    return path.relative_to(root).as_posix()
