"""Find the photos in folders with one sub-folder per class."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vit_demo.errors import LISTED, DataError, nearest

SUFFIXES = {
    ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic",
}  # fmt: skip

# A folder with a sub-folder of each group is already split into two parts. Case does not matter,
# and the names may end in "set", "data", "images" or "photos", as in "Training" or "test_set". If
# there are several held-out parts, the first in this order is used.
TRAINING_NAMES = ("train", "training")
HELD_OUT_NAMES = ("val", "valid", "validation", "dev", "eval", "evaluation", "test", "testing")
SPLIT_SUFFIX = re.compile(r"[ _-]?(set|data|images|photos)$")

FEWEST_CLASSES = 2

Sample = tuple[Path, int]


@dataclass(frozen=True)
class PhotoFolder:
    """Photos with their classes; classes are numbered in alphabetical order.

    `empty` are the sub-folders without photos. `unreadable` photos are not in `samples`.
    """

    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    empty: tuple[str, ...] = ()
    unreadable: tuple[Sample, ...] = ()

    def of(self, label: int) -> list[Sample]:
        """The photos of one class."""
        return [sample for sample in self.samples if sample[1] == label]

    def without(self, unreadable: Collection[Path]) -> "PhotoFolder":
        """The folder without unreadable photos; DataError if a class has no other photos."""
        kept = replace(
            self,
            samples=tuple(sample for sample in self.samples if sample[0] not in unreadable),
            unreadable=tuple(sample for sample in self.samples if sample[0] in unreadable),
        )
        remaining = {label for _, label in kept.samples}
        for path, label in kept.unreadable:
            if label not in remaining:
                raise DataError(
                    f"None of the photos of the class '{self.labels[label]}' can be read, "
                    f"for example '{path}'; replace them, or remove the class."
                )
        return kept


def photos_in(folder: Path) -> list[Path]:
    """All photos in a folder and its sub-folders, sorted; hidden files are skipped."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def scan(folder: Path, leave_out: str | None = None) -> PhotoFolder:
    """Find the photos of a folder with one sub-folder per class, without the class `leave_out`.

    Raises DataError if there are fewer than two classes with photos, if the sub-folders are not
    classes but contain some, or if there is no class `leave_out`.
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
        without = f" (no photos in: {', '.join(empty)})" if empty else ""
        classes = "class" if len(labels) == 1 else "classes"
        raise DataError(
            f"'{folder}' contains photos of {len(labels)} {classes}{without}, but at least "
            f"{FEWEST_CLASSES} are needed; put the photos of each class into a sub-folder with its "
            "name."
        )
    samples = tuple((path, labels.index(label)) for label in labels for path in found[label])
    return PhotoFolder(labels, samples, empty)


def scan_all(data: Path) -> PhotoFolder:
    """All photos of a folder of classes, or of both parts of a split folder."""
    found = parts(data)
    return PhotoFolder(found[0].labels, tuple(sample for part in found for sample in part.samples))


def parts(data: Path, leave_out: str | None = None) -> tuple[PhotoFolder, ...]:
    """One folder of classes, or the training part and the held-out part of a split folder.

    Raises DataError as `scan` does, and if the two parts have different classes.
    """
    pair = _pair(data)
    if pair is None:
        return (scan(data, leave_out),)
    first, second = (scan(part, leave_out) for part in pair)
    if first.labels != second.labels:
        different = sorted(set(first.labels) ^ set(second.labels))
        raise DataError(
            f"'{pair[0]}' and '{pair[1]}' must have the same classes, but only one of them has "
            f"photos of: {', '.join(different)}."
        )
    return tuple(
        replace(photos, empty=tuple(f"{part.name}/{name}" for name in photos.empty))
        for part, photos in zip(pair, (first, second), strict=True)
    )


def _pair(data: Path) -> tuple[Path, Path] | None:
    """The training part and the held-out part, if there are folders with both names."""
    if not data.is_dir():
        return None
    training, held_out = (
        [child for name in names for child in _sub_folders(data) if split_name(child.name) == name]
        for names in (TRAINING_NAMES, HELD_OUT_NAMES)
    )
    if not training or not held_out:
        return None
    first = [path for path in held_out if split_name(path.name) == split_name(held_out[0].name)]
    for same in (training, first):
        if len(same) > 1:
            names = " and ".join(f"'{path.name}'" for path in same)
            raise DataError(
                f"'{data}' contains {names}, which name the same part; merge these folders."
            )
    return training[0], held_out[0]


def split_name(name: str) -> str | None:
    """The part of a split that a folder name stands for, in lower case; None for other names."""
    plain = SPLIT_SUFFIX.sub("", name.casefold().strip())
    return plain if plain in (*TRAINING_NAMES, *HELD_OUT_NAMES) else None


def _sub_folders(folder: Path) -> list[Path]:
    """The sub-folders, sorted; hidden ones are skipped."""
    return [
        child
        for child in sorted(folder.iterdir())
        if child.is_dir() and not child.name.startswith(".")
    ]


def _check_classes(folder: Path, found: Mapping[str, list[Path]]) -> None:
    """Raise DataError if the sub-folders are parts of a split, or contain the class folders."""
    with_photos = [name for name, paths in found.items() if paths]
    if not with_photos:
        return
    listed = _listed(with_photos)
    if all(split_name(name) for name in with_photos):
        raise DataError(
            f"'{folder}' contains {listed}, which are parts of a split and not classes; name one "
            f"of them, such as '{folder / with_photos[0]}', or add a training part "
            f"({', '.join(TRAINING_NAMES)}) and a held-out part ({', '.join(HELD_OUT_NAMES)})."
        )
    nested = {name: _nested(folder / name, found[name]) for name in with_photos}
    if all(nested.values()):
        first = with_photos[0]
        raise DataError(
            f"'{folder}' contains {listed}, and all photos are in sub-folders of these, as in "
            f"'{first}': {_listed(nested[first])}. So it is not clear which folders are the "
            f"classes: name the folder that contains them, such as '{folder / first}', or put the "
            "photos of each class directly into a sub-folder with its name. A split has the names "
            f"{', '.join(TRAINING_NAMES)} and {', '.join(HELD_OUT_NAMES)}."
        )


def _nested(folder: Path, photos: Sequence[Path]) -> list[str]:
    """The sub-folders that contain all photos of a folder; empty if a photo is directly in it."""
    parts = [path.relative_to(folder).parts for path in photos]
    return sorted({part[0] for part in parts}) if all(len(part) > 1 for part in parts) else []


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > LISTED else ""
    return ", ".join(f"'{name}'" for name in names[:LISTED]) + more


def relative_names(samples: Sequence[Sample], root: Path) -> list[str]:
    """The paths of photos relative to `root`, with `/`, as stored in JSON files."""
    return [relative_name(path, root) for path, _ in samples]


def relative_name(path: Path, root: Path) -> str:
    """The path of one photo relative to `root`, with `/`."""
    return path.relative_to(root).as_posix()
