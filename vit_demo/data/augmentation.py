"""Random views of a photo, and random mixtures of photos."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from vit_demo.errors import ConfigError, DataError
from vit_demo.preprocess import Preprocessing

FILL = (128, 128, 128)
STRONGEST = 10

# Fields that are called otherwise in training.json, whose keys stay.
JSON_NAMES = {"num_ops": "operations", "magnitude": "strength"}


@dataclass(frozen=True)
class Augmentation:
    """Random views of a photo: a crop of some area and aspect, a mirror image, other light.

    `num_ops` changes of a random kind follow, each of `magnitude` 0 to 10 (RandAugment,
    arXiv 1909.13719), and with probability `erase` a rectangle is greyed (random erasing,
    arXiv 1708.04896). Colours change by up to the shares given.
    """

    area: tuple[float, float] = (0.35, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    brightness: float = 0.3
    contrast: float = 0.0
    saturation: float = 0.3
    num_ops: int = 0
    magnitude: float = 5.0
    erase: float = 0.0
    erased_area: tuple[float, float] = (0.02, 0.2)

    def __post_init__(self) -> None:
        for name in ("area", "aspect", "erased_area"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigError(f"{name}={low}, {high}, but it must rise, and begin above 0.")
        if self.area[1] > 1:
            raise ConfigError(f"area ends at {self.area[1]}, but a photo has no more than 1.")
        for name in ("brightness", "contrast", "saturation", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}, but it must lie in [0, 1].")
        if self.num_ops < 0 or not 0 <= self.magnitude <= STRONGEST:
            raise ConfigError(
                f"num_ops={self.num_ops} of magnitude {self.magnitude}; "
                f"choose 0 or more of a magnitude from 0 to {STRONGEST}."
            )

    def as_json(self) -> dict[str, Any]:
        """Every number, under the keys of training.json."""
        return {JSON_NAMES.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Augmentation":
        """Read what was written as JSON, where pairs are lists."""
        names = {key: name for name, key in JSON_NAMES.items()}
        values: dict[str, Any] = {
            names.get(name, name): tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        return cls(**values)

    def __call__(
        self, photo: Image.Image, preprocessing: Preprocessing, seeded_rng: Random
    ) -> Image.Image:
        """One random view, at the size the model reads."""
        height, width = input_size(preprocessing)
        view = photo.resize(
            (width, height), preprocessing.resample, box=self._box(photo, seeded_rng)
        )
        if seeded_rng.random() < 1 / 2:
            view = ImageOps.mirror(view)
        for change, spread in (
            (ImageEnhance.Brightness, self.brightness),
            (ImageEnhance.Contrast, self.contrast),
            (ImageEnhance.Color, self.saturation),
        ):
            view = change(view).enhance(seeded_rng.uniform(1 - spread, 1 + spread))
        for _ in range(self.num_ops):
            sign = seeded_rng.choice((1, -1))
            view = seeded_rng.choice(OPERATIONS)(view, sign * self.magnitude / STRONGEST)
        return self._erased(view, seeded_rng) if seeded_rng.random() < self.erase else view

    def _box(self, photo: Image.Image, seeded_rng: Random) -> tuple[float, float, float, float]:
        area = seeded_rng.uniform(*self.area) * photo.width * photo.height
        aspect = _ratio(self.aspect, seeded_rng)
        across = min(math.sqrt(area * aspect), float(photo.width))
        down = min(math.sqrt(area / aspect), float(photo.height))
        left = seeded_rng.uniform(0.0, photo.width - across)
        top = seeded_rng.uniform(0.0, photo.height - down)
        return left, top, left + across, top + down

    def _erased(self, view: Image.Image, seeded_rng: Random) -> Image.Image:
        area = seeded_rng.uniform(*self.erased_area) * view.width * view.height
        aspect = _ratio(self.aspect, seeded_rng)
        across = min(round(math.sqrt(area * aspect)), view.width)
        down = min(round(math.sqrt(area / aspect)), view.height)
        left, top = (
            seeded_rng.randrange(view.width - across + 1),
            seeded_rng.randrange(view.height - down + 1),
        )
        erased = view.copy()
        erased.paste(FILL, (left, top, left + across, top + down))
        return erased


def input_size(preprocessing: Preprocessing) -> tuple[int, int]:
    """Height and width of what the model reads; raises DataError when they are not fixed."""
    size = preprocessing.crop or preprocessing.resize
    if not isinstance(size, tuple):
        raise DataError("Training needs a fixed input size; give the preprocessing a crop.")
    return size


def _ratio(bounds: tuple[float, float], seeded_rng: Random) -> float:
    """A ratio within bounds, such that x and 1/x are equally likely."""
    return math.exp(seeded_rng.uniform(*(math.log(bound) for bound in bounds)))


def _tilted(
    view: Image.Image, shear: tuple[float, float], shift: tuple[float, float]
) -> Image.Image:
    """The picture leaning and moved, by parts of its own width and height."""
    across, down = shear
    matrix = (1, across, shift[0] * view.width, down, 1, shift[1] * view.height)
    return view.transform(
        view.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=FILL
    )


# A picture and a signed strength from −1 to 1 give another picture. The reaches at full strength
# are the paper's.
OPERATIONS: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda view, _: view,
    lambda view, _: ImageOps.autocontrast(view),
    lambda view, _: ImageOps.equalize(view),
    lambda view, by: view.rotate(30 * by, Image.Resampling.BILINEAR, fillcolor=FILL),
    lambda view, by: ImageOps.posterize(view, 8 - round(4 * abs(by))),
    lambda view, by: ImageOps.solarize(view, 256 - round(256 * abs(by))),
    lambda view, by: ImageEnhance.Color(view).enhance(1 + 0.9 * by),
    lambda view, by: ImageEnhance.Contrast(view).enhance(1 + 0.9 * by),
    lambda view, by: ImageEnhance.Brightness(view).enhance(1 + 0.9 * by),
    lambda view, by: ImageEnhance.Sharpness(view).enhance(1 + 0.9 * by),
    lambda view, by: _tilted(view, (0.3 * by, 0.0), (0.0, 0.0)),
    lambda view, by: _tilted(view, (0.0, 0.3 * by), (0.0, 0.0)),
    lambda view, by: _tilted(view, (0.0, 0.0), (0.3 * by, 0.0)),
    lambda view, by: _tilted(view, (0.0, 0.0), (0.0, 0.3 * by)),
)


def mix(
    pixels: Float[Tensor, "b 3 h w"],
    targets: Float[Tensor, "b classes"],
    mixup: float,
    cutmix: float,
    seeded_rng: Random,
) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b classes"]]:
    """Every photo mixed with another of the batch, and its target in the same proportion.

    One of the two ways is chosen at random where both are asked for: all of both photos laid over
    each other (mixup), or a rectangle of one set into the other (cutmix).
    """
    ways = [(way, alpha) for way, alpha in ((_mixup, mixup), (_cutmix, cutmix)) if alpha > 0]
    if not ways:
        return pixels, targets
    way, alpha = seeded_rng.choice(ways)
    share = seeded_rng.betavariate(alpha, alpha)
    others = torch.tensor(seeded_rng.sample(range(len(pixels)), len(pixels)), device=pixels.device)
    mixed, share = way(pixels, pixels[others], share, seeded_rng)
    return mixed, share * targets + (1 - share) * targets[others]


def _mixup(
    pixels: Float[Tensor, "b 3 h w"], others: Float[Tensor, "b 3 h w"], share: float, _: Random
) -> tuple[Float[Tensor, "b 3 h w"], float]:
    return share * pixels + (1 - share) * others, share


def _cutmix(
    pixels: Float[Tensor, "b 3 h w"],
    others: Float[Tensor, "b 3 h w"],
    share: float,
    seeded_rng: Random,
) -> tuple[Float[Tensor, "b 3 h w"], float]:
    """The rectangle is cut off at the edge, so the share is counted again from what was set in."""
    height, width = pixels.shape[-2:]
    down, across = (round(side * math.sqrt(1 - share)) for side in (height, width))
    middle_row, middle_col = seeded_rng.randrange(height), seeded_rng.randrange(width)
    top, bottom = max(middle_row - down // 2, 0), min(middle_row + (down + 1) // 2, height)
    left, right = max(middle_col - across // 2, 0), min(middle_col + (across + 1) // 2, width)
    mixed = pixels.clone()
    mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
