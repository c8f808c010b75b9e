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

# Fields with different keys in training.json; its keys must not change.
JSON_NAMES = {"num_ops": "operations", "magnitude": "strength"}


@dataclass(frozen=True)
class Augmentation:
    """Random views of a photo: a random resized crop, a horizontal flip and color jitter.

    Then `num_ops` random operations of `magnitude` 0 to 10 are applied (RandAugment, arXiv
    1909.13719), and with probability `erase` a rectangle is filled with gray (random erasing,
    arXiv 1708.04896). `area` is a fraction of the photo, `aspect` is width / height; `brightness`,
    `contrast` and `saturation` are the maximum relative changes.
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
                raise ConfigError(
                    f"{name}={low}, {high}, but it must be two increasing numbers above 0."
                )
        if self.area[1] > 1:
            raise ConfigError(f"area ends at {self.area[1]}, but it must not exceed 1.")
        for name in ("brightness", "contrast", "saturation", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}, but it must lie in [0, 1].")
        if self.num_ops < 0 or not 0 <= self.magnitude <= STRONGEST:
            raise ConfigError(
                f"num_ops={self.num_ops} with magnitude={self.magnitude}; choose 0 or more "
                f"operations and a magnitude from 0 to {STRONGEST}."
            )

    def as_json(self) -> dict[str, Any]:
        """All fields, with the keys of training.json."""
        return {JSON_NAMES.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Augmentation":
        """Read the JSON of `as_json`, in which pairs are lists."""
        names = {key: name for name, key in JSON_NAMES.items()}
        values: dict[str, Any] = {
            names.get(name, name): tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        return cls(**values)

    def __call__(
        self, photo: Image.Image, preprocessing: Preprocessing, seeded_rng: Random
    ) -> Image.Image:
        """One random view with the model's input size."""
        height, width = input_size(preprocessing)
        view = photo.resize(
            (width, height), preprocessing.resample, box=self._box(photo, seeded_rng)
        )
        if seeded_rng.random() < 1 / 2:
            view = ImageOps.mirror(view)
        for enhancer, strength in (
            (ImageEnhance.Brightness, self.brightness),
            (ImageEnhance.Contrast, self.contrast),
            (ImageEnhance.Color, self.saturation),
        ):
            view = enhancer(view).enhance(seeded_rng.uniform(1 - strength, 1 + strength))
        for _ in range(self.num_ops):
            sign = seeded_rng.choice((1, -1))
            view = seeded_rng.choice(OPERATIONS)(view, sign * self.magnitude / STRONGEST)
        return self._erased(view, seeded_rng) if seeded_rng.random() < self.erase else view

    def _box(self, photo: Image.Image, seeded_rng: Random) -> tuple[float, float, float, float]:
        area = seeded_rng.uniform(*self.area) * photo.width * photo.height
        aspect = _ratio(self.aspect, seeded_rng)
        width = min(math.sqrt(area * aspect), float(photo.width))
        height = min(math.sqrt(area / aspect), float(photo.height))
        left = seeded_rng.uniform(0.0, photo.width - width)
        top = seeded_rng.uniform(0.0, photo.height - height)
        return left, top, left + width, top + height

    def _erased(self, view: Image.Image, seeded_rng: Random) -> Image.Image:
        area = seeded_rng.uniform(*self.erased_area) * view.width * view.height
        aspect = _ratio(self.aspect, seeded_rng)
        width = min(round(math.sqrt(area * aspect)), view.width)
        height = min(round(math.sqrt(area / aspect)), view.height)
        left, top = (
            seeded_rng.randrange(view.width - width + 1),
            seeded_rng.randrange(view.height - height + 1),
        )
        erased = view.copy()
        erased.paste(FILL, (left, top, left + width, top + height))
        return erased


def input_size(preprocessing: Preprocessing) -> tuple[int, int]:
    """Height and width of the model's input; raises DataError if they are not fixed."""
    size = preprocessing.crop or preprocessing.resize
    if not isinstance(size, tuple):
        raise DataError("Training needs a fixed input size; add a crop to the preprocessing.")
    return size


def _ratio(bounds: tuple[float, float], seeded_rng: Random) -> float:
    """A ratio within bounds, log-uniform, so that x and 1/x are equally likely."""
    return math.exp(seeded_rng.uniform(*(math.log(bound) for bound in bounds)))


def _affine(
    view: Image.Image, shear: tuple[float, float], shift: tuple[float, float]
) -> Image.Image:
    """Shear and translate a picture; the shift is in fractions of its width and height."""
    shear_x, shear_y = shear
    matrix = (1, shear_x, shift[0] * view.width, shear_y, 1, shift[1] * view.height)
    return view.transform(
        view.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=FILL
    )


# Each operation takes a picture and a signed strength from −1 to 1. The ranges at full strength are
# those of the paper.
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
    lambda view, by: _affine(view, (0.3 * by, 0.0), (0.0, 0.0)),
    lambda view, by: _affine(view, (0.0, 0.3 * by), (0.0, 0.0)),
    lambda view, by: _affine(view, (0.0, 0.0), (0.3 * by, 0.0)),
    lambda view, by: _affine(view, (0.0, 0.0), (0.0, 0.3 * by)),
)


def mix(
    pixels: Float[Tensor, "b 3 h w"],
    targets: Float[Tensor, "b classes"],
    mixup: float,
    cutmix: float,
    seeded_rng: Random,
) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b classes"]]:
    """Mix every photo with another one of the batch, and its target in the same proportion.

    Mixup blends the two photos; cutmix pastes a rectangle of one into the other. If both are
    enabled, one of them is chosen at random per batch.
    """
    enabled = [(mixer, alpha) for mixer, alpha in ((_mixup, mixup), (_cutmix, cutmix)) if alpha > 0]
    if not enabled:
        return pixels, targets
    mixer, alpha = seeded_rng.choice(enabled)
    share = seeded_rng.betavariate(alpha, alpha)
    others = torch.tensor(seeded_rng.sample(range(len(pixels)), len(pixels)), device=pixels.device)
    mixed, share = mixer(pixels, pixels[others], share, seeded_rng)
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
    """Paste a rectangle, clipped at the edges; the share is recomputed from its actual area."""
    height, width = pixels.shape[-2:]
    rows, cols = (round(side * math.sqrt(1 - share)) for side in (height, width))
    center_row, center_col = seeded_rng.randrange(height), seeded_rng.randrange(width)
    top, bottom = max(center_row - rows // 2, 0), min(center_row + (rows + 1) // 2, height)
    left, right = max(center_col - cols // 2, 0), min(center_col + (cols + 1) // 2, width)
    mixed = pixels.clone()
    mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
