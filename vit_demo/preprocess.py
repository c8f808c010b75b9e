"""Photo → model input, as the checkpoint specifies, and the position of the input on the photo.

Sizes are (height, width) in pixels. Boxes are (left, top, right, bottom) as floats, in pixels of
the upright photo. Every step uses Pillow, so the pixels equal those of the transformers library's
Pillow processors bit for bit.
"""

from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from vit_demo.checks import (
    LARGEST_NUMBER,
    LARGEST_SIDE,
    SMALLEST_NUMBER,
    check_flag,
    check_number,
    is_whole,
)
from vit_demo.errors import ConfigError, PhotoError
from vit_demo.photo import MAX_PIXELS

COLORS = 3
# Mean and standard deviation of ImageNet, which most checkpoints use.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# How PyTorch resizes numbers, as Pillow resizes pictures.
UNROUNDED = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}

Size = tuple[int, int]
Box = tuple[float, float, float, float]


def enlargement(box: Box, size: Size) -> float:
    """The factor by which the photo is enlarged to the input's `size`, in the larger direction.

    `box` is the part of the photo that the input covers. Enlarged pixels are interpolated.
    """
    left, top, right, bottom = box
    height, width = size
    return max(height / (bottom - top), width / (right - left))


@dataclass(frozen=True)
class Prepared:
    """One photo, ready for the model: `picture` and `pixels` show the part `box` of `photo`."""

    photo: Image.Image
    picture: Image.Image
    pixels: Float[Tensor, "1 3 h w"]
    box: Box

    def grid_box(self, grid: tuple[int, int], patch_size: int) -> Box:
        """The box on the photo that a grid of (rows, columns) equal patches covers.

        If the input is not a whole number of patches, a model either drops the remainder at the
        right and at the bottom, so this box is smaller than `box`; or it pads the input, so the
        last patches extend beyond `box` and possibly beyond the photo. Do not clip this box to the
        photo, which would move every patch; clip the drawing instead.
        """
        left, top, right, bottom = self.box
        covered_across = grid[1] * patch_size / self.picture.width
        covered_down = grid[0] * patch_size / self.picture.height
        return (
            left,
            top,
            left + (right - left) * covered_across,
            top + (bottom - top) * covered_down,
        )


@dataclass(frozen=True)
class Preprocessing:
    """How a checkpoint's photos are resized, cropped and normalized.

    `resize` is an exact (height, width), one number for the shorter side, or None. With `covers`
    the photo keeps its aspect ratio and becomes just large enough to cover (height, width).
    `crop` is a center crop; if it is larger than the picture, the rest is black. If the center is
    between two pixels, it `rounds` like torchvision, or rounds down like transformers. Values are
    multiplied by `scale`, then `mean` is subtracted and the result divided by `std` (None skips
    this). With `unrounded` the photo is resized after that multiplication, so values are not
    rounded to bytes; it needs an exact size and no crop. With `bgr` the channels, mean and std are
    in the order blue, green, red.
    """

    resize: Size | int | None
    crop: Size | None = None
    covers: bool = False
    rounds: bool = False
    resample: Image.Resampling = Image.Resampling.BILINEAR
    scale: float = 1 / 255
    mean: tuple[float, float, float] | None = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] | None = (0.5, 0.5, 0.5)
    bgr: bool = False
    unrounded: bool = False

    def __post_init__(self) -> None:
        if self.unrounded and not (isinstance(self.resize, tuple) and self.crop is None):
            raise ConfigError(
                f"resize={self.resize} with crop={self.crop}, but values that are not rounded are "
                "brought to one exact size; give a height and a width, and no crop."
            )
        if self.unrounded and self.resample not in UNROUNDED:
            raise ConfigError(
                f"resample={self.resample.name}, but values that are not rounded are resized "
                f"{' or '.join(UNROUNDED.values())}."
            )
        if (self.mean is None) != (self.std is None):
            raise ConfigError("mean and std go together: give both or neither.")
        for name in ("covers", "rounds", "bgr", "unrounded"):
            check_flag(name, getattr(self, name))
        check_number("scale", self.scale)
        for name, least in (("mean", -LARGEST_NUMBER), ("std", SMALLEST_NUMBER)):
            values = getattr(self, name)
            if values is None:
                continue
            if not isinstance(values, tuple) or len(values) != COLORS:
                raise ConfigError(f"{name}={values}, but it must be one number for each color.")
            if name == "std" and 0 in values:
                raise ConfigError(
                    f"std={values} would divide by zero; every entry must be above 0."
                )
            for value in values:
                check_number(name, value, least)
        _check_size("resize", self.resize, single=True)
        _check_size("crop", self.crop, single=False)

    @property
    def least_side(self) -> int | None:
        """The shorter side of the output in pixels; None if it is that of the photo."""
        size = self.resize if self.crop is None else self.crop
        return min(size) if isinstance(size, tuple) else size

    @property
    def words(self) -> str:
        """Every step in one line, for a reader who wants to compare it with a training script."""
        steps = [self._resize_words()]
        if self.crop is not None:
            steps.append(f"center {self.crop[0]} × {self.crop[1]}")
        if self.mean is not None and self.std is not None:
            steps += [f"{name} {_listed(getattr(self, name))}" for name in ("mean", "std")]
        else:
            steps.append("not normalized")
        return ", ".join([*steps, *(["channels blue, green, red"] if self.bgr else [])])

    def _resize_words(self) -> str:
        name = self.resample.name.lower()
        match self.resize:
            case None:
                return "not resized"
            case int(side):
                return f"shorter side {side} ({name})"
            case height, width:
                least = "at least " if self.covers else ""
                return f"{least}{height} × {width} ({name})"

    def __call__(self, photo: Image.Image) -> Prepared:
        """Prepare an upright RGB photo (see `read_photo`)."""
        resized, box = self._resized(photo)
        picture, box = self._cropped(resized, box)
        pixels = self._unrounded(photo) if self.unrounded else self.pixels(picture)
        return Prepared(photo, picture, pixels, box)

    def pixels(self, picture: Image.Image) -> Float[Tensor, "1 3 h w"]:
        """Convert a resized and cropped picture to normalized pixels."""
        return self._normalized(self._scaled(picture))

    def _unrounded(self, photo: Image.Image) -> Float[Tensor, "1 3 h w"]:
        """Resize between scaling and normalizing, as torchvision does with tensors."""
        mode = UNROUNDED[self.resample]
        values = functional.interpolate(
            self._scaled(photo), self.resize, mode=mode, align_corners=False, antialias=True
        )
        return self._normalized(values)

    def _scaled(self, picture: Image.Image) -> Float[Tensor, "1 3 h w"]:
        # float64 first, then float32: the order of the transformers library, bit for bit.
        values = torch.from_numpy(np.array(picture)).double() * self.scale
        return rearrange(values.float(), "h w c -> 1 c h w")

    def _normalized(self, pixels: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h w"]:
        if self.bgr:
            pixels = pixels.flip(1)
        if self.mean is None or self.std is None:
            return pixels
        mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (self.mean, self.std))
        return (pixels - mean) / std

    def _resized(self, photo: Image.Image) -> tuple[Image.Image, Box]:
        whole = (0.0, 0.0, float(photo.width), float(photo.height))
        if self.resize is None:
            return photo, whole
        if isinstance(self.resize, tuple):
            height, width = self.resize
            if self.covers:
                ratio = min(photo.height / height, photo.width / width)
                height, width = round(photo.height / ratio), round(photo.width / ratio)
        else:
            short, long = sorted(photo.size)
            longer = int(self.resize * long / short)
            upright = photo.height >= photo.width
            width, height = (self.resize, longer) if upright else (longer, self.resize)
        if width * height > MAX_PIXELS:
            raise PhotoError(
                f"A photo of {photo.width} × {photo.height} pixels is too narrow: this checkpoint "
                f"would resize it to {width} × {height}; crop it first."
            )
        return photo.resize((width, height), self.resample), whole

    def _cropped(self, picture: Image.Image, box: Box) -> tuple[Image.Image, Box]:
        if self.crop is None:
            return picture, box
        height, width = self.crop
        margins = (picture.width - width, picture.height - height)
        left, top = (round(margin / 2) if self.rounds else margin // 2 for margin in margins)
        scale_x, scale_y = box[2] / picture.width, box[3] / picture.height
        cropped = picture.crop((left, top, left + width, top + height))
        return cropped, (
            left * scale_x,
            top * scale_y,
            (left + width) * scale_x,
            (top + height) * scale_y,
        )


def _listed(values: tuple[float, float, float]) -> str:
    """The values as text; a single one if all three are equal."""
    return " ".join(f"{value:g}" for value in dict.fromkeys(values))


def _check_size(name: str, size: Any, single: bool) -> None:
    """Raise ConfigError unless it is None, (height, width), or, if `single`, one side."""
    if size is None:
        return
    sides = (size, size) if single and is_whole(size) else size
    match sides:
        case (height, width) if is_whole(height) and is_whole(width):
            pass
        case _:
            raise ConfigError(
                f"{name}={shortened(size)}, but it must be a height and a width"
                f"{', or one side' if single else ''}, in whole pixels."
            )
    if min(height, width) < 1:
        raise ConfigError(f"{name}={shortened(size)}, but every side must be 1 pixel or more.")
    if max(height, width) > LARGEST_SIDE:
        raise ConfigError(
            f"{name}={shortened(size)}, but a side has at most {LARGEST_SIDE} pixels here."
        )
