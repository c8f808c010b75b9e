"""Split the photos of a folder into training and held-out photos, and read them as pixels."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from vit_demo.data.augmentation import Augmentation
from vit_demo.data.folder import PhotoFolder, Sample, parts
from vit_demo.data.seeding import seeded_rng
from vit_demo.errors import DataError
from vit_demo.photo import read_photo
from vit_demo.preprocess import Preprocessing


@dataclass(frozen=True)
class Split:
    """Training photos and held-out photos; `empty` are sub-folders without photos."""

    labels: tuple[str, ...]
    training: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    empty: tuple[str, ...] = ()

    def counts(self, samples: Sequence[Sample]) -> dict[str, int]:
        """The number of samples of each class."""
        return {
            label: sum(index == number for _, index in samples)
            for number, label in enumerate(self.labels)
        }


def read_split(
    data: Path,
    held_out: float,
    seed: int,
    leave_out: str | None = None,
    fold: int = 1,
    unreadable: Collection[Path] = (),
) -> Split:
    """Split a folder of classes, or read the given split of a folder with `train` and `val`.

    `leave_out` skips the photos of one class; `unreadable` photos are skipped too. For `fold` see
    `split`. Raises DataError if there are fewer than two classes, too few photos in one of them,
    or different classes in the two parts.
    """
    first, *second = (part.without(unreadable) for part in parts(data, leave_out))
    if not second:
        training, kept = split(first, held_out, seed, fold)
        return Split(first.labels, training, kept, first.empty)
    if fold != 1:
        raise DataError(
            f"'{data}' is already split into training and validation, so it has no fold {fold}; "
            "put all of its photos into one folder per class."
        )
    return Split(first.labels, first.samples, second[0].samples, (*first.empty, *second[0].empty))


def split(
    photos: PhotoFolder, held_out: float, seed: int, fold: int = 1
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Hold out the same fraction of every class, chosen by `seed`: (training, held out).

    `fold` selects one of the 1 / `held_out` folds, numbered from 1. The folds are disjoint, unless
    a class has fewer photos than there are folds, and together contain all photos. At least one
    photo of each class is held out; raises DataError if none would be left for training.
    """
    if not 0 < held_out < 1:
        raise DataError(
            f"A held-out fraction of {held_out} is not between 0 and 1; choose one like 0.1."
        )
    if not 1 <= fold <= round(1 / held_out):
        raise DataError(
            f"There is no fold {fold} of {held_out} of the photos; choose 1 to "
            f"{round(1 / held_out)}."
        )
    generator = torch.Generator().manual_seed(seed)
    training: list[Sample] = []
    kept: list[Sample] = []
    for label in range(len(photos.labels)):
        own = photos.of(label)
        order = torch.randperm(len(own), generator=generator).tolist()
        share = held_out * len(own)
        start = min(round((fold - 1) * share), len(own) - 1)
        end = max(start + 1, round(fold * share))
        if end - start >= len(own):
            raise _too_few(photos, label, held_out)
        kept += [own[i] for i in sorted(order[start:end])]
        training += [own[i] for i in sorted((*order[:start], *order[end:]))]
    return tuple(training), tuple(kept)


def _too_few(photos: PhotoFolder, label: int, held_out: float) -> DataError:
    count = len(photos.of(label))
    unreadable = [path for path, number in photos.unreadable if number == label]
    readable = f" that can be read ('{unreadable[0]}' cannot)" if unreadable else ""
    return DataError(
        f"The class '{photos.labels[label]}' has {count} {'photo' if count == 1 else 'photos'}"
        f"{readable}, and holding out {held_out} of them leaves none for training; add photos or "
        "hold out less."
    )


class Photos(Dataset[tuple[Float[Tensor, "3 h w"], int]]):
    """Samples as (pixels, class), preprocessed as for inference."""

    def __init__(self, samples: Sequence[Sample], preprocessing: Preprocessing) -> None:
        self.samples = samples
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "3 h w"], int]:
        path, label = self.samples[index]
        return self.preprocessing(read_photo(path)).pixels[0], label


class Views(Dataset[tuple[Float[Tensor, "3 h w"], int]]):
    """Random views of samples as (pixels, class), indexed by (sample, epoch)."""

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
        rng = seeded_rng(self.seed, "view", epoch, index)
        augmented = self.augmentation(read_photo(path), self.preprocessing, rng)
        return self.preprocessing.pixels(augmented)[0], label


def batches(
    count: int, batch_size: int, seed: int, epoch: int, part: int = 0, parts: int = 1
) -> list[list[tuple[int, int]]]:
    """The batches of (sample, epoch) of one epoch, in random order.

    An incomplete last batch is dropped. With several `parts` (processes), each gets its share of
    every batch.
    """
    order = seeded_rng(seed, "order", epoch).sample(range(count), count)
    whole = count - count % batch_size if count > batch_size else count
    return [
        [(index, epoch) for index in order[start : start + batch_size][part::parts]]
        for start in range(0, whole, batch_size)
    ]
