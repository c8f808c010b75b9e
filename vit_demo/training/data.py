"""Folders of photos, one sub-folder per class: found, checked, split, and read as pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from vit_demo.errors import DataError, nearest
from vit_demo.photo import read_photo
from vit_demo.preprocess import Preprocessing
from vit_demo.training.augment import Augmentation
from vit_demo.training.dice import dice

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic"}

# A folder that holds two of these holds two sets of classes, already split.
TRAINING_NAMES, HELD_OUT_NAMES = ("train", "training"), ("val", "valid", "validation", "test")

FEWEST_CLASSES = 2

Sample = tuple[Path, int]


@dataclass(frozen=True)
class PhotoFolder:
    """Photos and the class each belongs to; classes are numbered in alphabetical order."""

    labels: tuple[str, ...]
    samples: tuple[Sample, ...]


def scan(folder: Path, leave_out: str | None = None) -> PhotoFolder:
    """Find the photos of a folder with one sub-folder per class, all but one if asked.

    Raises DataError when there are fewer than two classes with photos in them, or the one to
    leave out is not among them.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'; name one with a sub-folder per class.")
    found = {
        child.name: sorted(p for p in child.rglob("*") if p.suffix.lower() in SUFFIXES)
        for child in sorted(folder.iterdir())
        if child.is_dir()
    }
    if leave_out is not None and not found.pop(leave_out, None):
        raise DataError(f"'{folder}' has no class '{leave_out}'; {nearest(leave_out, list(found))}")
    labels = tuple(label for label, paths in found.items() if paths)
    if len(labels) < FEWEST_CLASSES:
        raise DataError(
            f"'{folder}' holds photos of {len(labels)} classes and at least "
            f"{FEWEST_CLASSES} are needed; put each class's photos into a sub-folder of its name."
        )
    return PhotoFolder(
        labels, tuple((path, labels.index(label)) for label in labels for path in found[label])
    )


@dataclass(frozen=True)
class Split:
    """Photos to learn from, and photos held out to score on."""

    labels: tuple[str, ...]
    training: tuple[Sample, ...]
    held_out: tuple[Sample, ...]

    def counts(self, samples: Sequence[Sample]) -> dict[str, int]:
        """How many of the samples each class has."""
        return {
            label: sum(index == number for _, index in samples)
            for number, label in enumerate(self.labels)
        }


def read_split(
    data: Path, held_out: float, seed: int, leave_out: str | None = None, fold: int = 1
) -> Split:
    """A folder of classes, split here; or one with `train` and `val`, split by its owner.

    With `leave_out` the photos of one class are not there at all; for `fold` see `split`. Raises
    DataError when there are fewer than two classes, or the two parts name different ones.
    """
    pair = _pair(data)
    if pair is None:
        photos = scan(data, leave_out)
        training, kept = split(photos, held_out, seed, fold)
        return Split(photos.labels, training, kept)
    if fold != 1:
        raise DataError(
            f"'{data}' is split already, so it has no fold {fold}; put all of its photos into one "
            "folder per class."
        )
    first, second = (scan(part, leave_out) for part in pair)
    if first.labels != second.labels:
        odd = sorted(set(first.labels) ^ set(second.labels))
        raise DataError(
            f"'{pair[0]}' and '{pair[1]}' must hold the same classes, and only one of them has "
            f"photos of: {', '.join(odd)}."
        )
    return Split(first.labels, first.samples, second.samples)


def scan_all(data: Path) -> PhotoFolder:
    """All photos of a folder of classes, or of both parts of one that its owner has split."""
    pair = _pair(data)
    if pair is None:
        return scan(data)
    whole = read_split(data, held_out=0.5, seed=0)
    return PhotoFolder(whole.labels, (*whole.training, *whole.held_out))


def _pair(data: Path) -> tuple[Path, Path] | None:
    training = [data / name for name in TRAINING_NAMES if (data / name).is_dir()]
    held_out = [data / name for name in HELD_OUT_NAMES if (data / name).is_dir()]
    return (training[0], held_out[0]) if training and held_out else None


def split(
    photos: PhotoFolder, held_out: float, seed: int, fold: int = 1
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Hold out the same share of every class, chosen by `seed`: (training, held out).

    The share is the `fold`-th of its size, from 1: no photo is in two folds, and 1 / `held_out`
    folds hold all. At least one photo of each class is held out; raises DataError where none
    would be left.
    """
    if not 0 < held_out < 1:
        raise DataError(f"A held-out share of {held_out} leaves nothing; choose one like 0.1.")
    if not 1 <= fold <= round(1 / held_out):
        raise DataError(
            f"There is no fold {fold} of {held_out} of the photos; choose 1 to "
            f"{round(1 / held_out)}."
        )
    generator = torch.Generator().manual_seed(seed)
    training: list[Sample] = []
    kept: list[Sample] = []
    for label, name in enumerate(photos.labels):
        own = [sample for sample in photos.samples if sample[1] == label]
        order = torch.randperm(len(own), generator=generator).tolist()
        share = held_out * len(own)
        begin = round((fold - 1) * share)
        end = max(begin + 1, round(fold * share))
        if end - begin >= len(own):
            raise DataError(
                f"The class '{name}' has {len(own)} photos, and holding out {held_out} of them "
                "leaves none to learn from; add photos or hold out less."
            )
        kept += [own[i] for i in sorted(order[begin:end])]
        training += [own[i] for i in sorted((*order[:begin], *order[end:]))]
    return tuple(training), tuple(kept)


class Photos(Dataset[tuple[Float[Tensor, "3 h w"], int]]):
    """Samples as (pixels, class), exactly as in use."""

    def __init__(self, samples: Sequence[Sample], preprocessing: Preprocessing) -> None:
        self.samples = samples
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "3 h w"], int]:
        path, label = self.samples[index]
        return self.preprocessing(read_photo(path)).pixels[0], label


class Views(Dataset[tuple[Float[Tensor, "3 h w"], int]]):
    """Random views of samples as (pixels, class), one for every (sample, epoch)."""

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.samples = samples
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed

    def __getitem__(self, view: tuple[int, int]) -> tuple[Float[Tensor, "3 h w"], int]:
        index, epoch = view
        path, label = self.samples[index]
        throws = dice(self.seed, "view", epoch, index)
        seen = self.augmentation(read_photo(path), self.preprocessing, throws)
        return self.preprocessing.pixels(seen)[0], label


def batches(
    count: int, batch_size: int, seed: int, epoch: int, part: int = 0, parts: int = 1
) -> list[list[tuple[int, int]]]:
    """One epoch as batches of (sample, epoch), in an order of its own.

    What is left over after the last whole batch waits for another epoch. With several `parts`,
    each takes its share of every batch.
    """
    order = dice(seed, "order", epoch).sample(range(count), count)
    whole = count - count % batch_size if count > batch_size else count
    return [
        [(index, epoch) for index in order[start : start + batch_size][part::parts]]
        for start in range(0, whole, batch_size)
    ]
