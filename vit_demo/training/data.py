"""A folder of photos, one sub-folder per class: found, split, and read as training pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from vit_demo.errors import DataError
from vit_demo.photo import read_photo
from vit_demo.preprocess import Preprocessing

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic"}

FEWEST_CLASSES = 2

Sample = tuple[Path, int]


@dataclass(frozen=True)
class PhotoFolder:
    """Photos and the class each belongs to; classes are numbered in alphabetical order."""

    labels: tuple[str, ...]
    samples: tuple[Sample, ...]


def scan(folder: Path) -> PhotoFolder:
    """Find the photos of a folder with one sub-folder per class.

    Raises DataError when there are fewer than two classes with photos in them.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'; name one with a sub-folder per class.")
    found = {
        child.name: sorted(p for p in child.rglob("*") if p.suffix.lower() in SUFFIXES)
        for child in sorted(folder.iterdir())
        if child.is_dir()
    }
    labels = tuple(label for label, paths in found.items() if paths)
    if len(labels) < FEWEST_CLASSES:
        raise DataError(
            f"'{folder}' holds photos of {len(labels)} classes and at least "
            f"{FEWEST_CLASSES} are needed; put each class's photos into a sub-folder of its name."
        )
    return PhotoFolder(
        labels, tuple((path, labels.index(label)) for label in labels for path in found[label])
    )


def split(
    photos: PhotoFolder, held_out: float, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Hold out the same share of every class, chosen by `seed`: (training, held out).

    At least one photo of each class is held out; raises DataError where none would be left.
    """
    if not 0 < held_out < 1:
        raise DataError(f"A held-out share of {held_out} leaves nothing; choose one like 0.1.")
    generator = torch.Generator().manual_seed(seed)
    training: list[Sample] = []
    kept: list[Sample] = []
    for label, name in enumerate(photos.labels):
        own = [sample for sample in photos.samples if sample[1] == label]
        order = torch.randperm(len(own), generator=generator).tolist()
        count = max(1, round(held_out * len(own)))
        if count >= len(own):
            raise DataError(
                f"The class '{name}' has {len(own)} photos, and holding out {held_out} of them "
                "leaves none to learn from; add photos or hold out less."
            )
        kept += [own[i] for i in sorted(order[:count])]
        training += [own[i] for i in sorted(order[count:])]
    return tuple(training), tuple(kept)


@dataclass(frozen=True)
class Augmentation:
    """Random views of a photo: a crop of some area and aspect, a mirror image, other light."""

    area: tuple[float, float] = (0.35, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    brightness: float = 0.3
    saturation: float = 0.3

    def __call__(self, photo: Image.Image, preprocessing: Preprocessing) -> Image.Image:
        """One random view, at the size the model reads. Draws from torch's generator."""
        box = self._box(photo.width, photo.height)
        height, width = input_size(preprocessing)
        view = photo.resize((width, height), preprocessing.resample, box=box)
        if torch.rand(()) < 1 / 2:
            view = ImageOps.mirror(view)
        view = ImageEnhance.Brightness(view).enhance(_between(_around(self.brightness)))
        return ImageEnhance.Color(view).enhance(_between(_around(self.saturation)))

    def _box(self, width: int, height: int) -> tuple[float, float, float, float]:
        low, high = (math.log(ratio) for ratio in self.aspect)
        area = _between(self.area) * width * height
        aspect = math.exp(_between((low, high)))
        across = min(math.sqrt(area * aspect), float(width))
        down = min(math.sqrt(area / aspect), float(height))
        left, top = _between((0.0, width - across)), _between((0.0, height - down))
        return left, top, left + across, top + down


def input_size(preprocessing: Preprocessing) -> tuple[int, int]:
    """Height and width of what the model reads; raises DataError when they are not fixed."""
    size = preprocessing.crop or preprocessing.resize
    if not isinstance(size, tuple):
        raise DataError("Training needs a fixed input size; give the preprocessing a crop.")
    return size


class Photos(Dataset[tuple[Float[Tensor, "3 h w"], int]]):
    """Samples as (pixels, class): augmented for training, exactly as in use without."""

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocessing: Preprocessing,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.samples = samples
        self.preprocessing = preprocessing
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "3 h w"], int]:
        path, label = self.samples[index]
        photo = read_photo(path)
        if self.augmentation is None:
            return self.preprocessing(photo).pixels[0], label
        view = self.augmentation(photo, self.preprocessing)
        return self.preprocessing.pixels(view)[0], label


def _around(spread: float) -> tuple[float, float]:
    return 1 - spread, 1 + spread


def _between(bounds: tuple[float, float]) -> float:
    low, high = bounds
    return low + (high - low) * torch.rand(()).item()
