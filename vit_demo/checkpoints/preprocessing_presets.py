"""Preprocessing for checkpoints without a processor file: a preset, or a user's processor file.

Every preset resizes the shorter side, crops the center at the model's image size, and normalizes,
like a training script with Resize, CenterCrop and Normalize.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vit_demo.checkpoints.files import IMAGE_PROCESSOR, read_json
from vit_demo.checkpoints.processor import HALF, read_preprocessing
from vit_demo.checkpoints.values import section
from vit_demo.errors import NotFoundError, nearest
from vit_demo.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, Size

# Resize(256), CenterCrop(224), and the same ratio at other sizes.
MARGIN = 256 / 224
BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


@dataclass(frozen=True)
class Preset:
    """The evaluation transform of one kind of training script."""

    resample: Image.Resampling
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    margin: float = MARGIN

    def at(self, image_size: Size) -> Preprocessing:
        """The preprocessing for a model of this image size."""
        return Preprocessing(
            resize=math.floor(max(image_size) * self.margin),
            crop=image_size,
            rounds=True,
            resample=self.resample,
            mean=self.mean,
            std=self.std,
        )


PRESETS: Mapping[str, Preset] = {
    "vit": Preset(BILINEAR, HALF, HALF),
    "swin": Preset(BILINEAR, IMAGENET_MEAN, IMAGENET_STD),
    "deit": Preset(BICUBIC, IMAGENET_MEAN, IMAGENET_STD),
    "dinov2": Preset(BICUBIC, IMAGENET_MEAN, IMAGENET_STD),
    "short-side": Preset(BILINEAR, HALF, HALF, margin=1.0),
}


def chosen_preprocessing(choice: str, image_size: Size, source: str) -> Preprocessing:
    """The preset of that name, or the preprocessing in a processor file.

    Raises NotFoundError if it is neither, CheckpointError for a file that is not supported.
    """
    if choice in PRESETS:
        return PRESETS[choice].at(image_size)
    path = Path(choice)
    if not path.is_file():
        raise NotFoundError(
            f"There is no preprocessing '{choice}' and no such file; {nearest(choice, [*PRESETS])} "
            "A file has the form of preprocessor_config.json."
        )
    stored = read_json(path, source)
    nested = section(stored, IMAGE_PROCESSOR, path.name)
    return read_preprocessing(nested or stored, image_size, source)
