"""What timm's config.json states, in its old and its new form.

New: {"architecture", "num_classes", "model_args"?, "label_names"?, "pretrained_cfg": {…}}.
Old: the entries of pretrained_cfg stand beside the architecture, and model_args is missing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from vit_demo.errors import CheckpointError, UnsupportedError
from vit_demo.models.grids import Grid
from vit_demo.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

# What timm falls back on.
SIDE = 224
CROP = 0.875

CROP_MODES = ("center", "squash")


def model_args(config_json: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments that the model was made with, as far as they are stated."""
    return config_json.get("model_args") or {}


def pretrained(config_json: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is said about the weights and their photos."""
    return config_json.get("pretrained_cfg") or config_json


def pooling(config_json: Mapping[str, Any]) -> str | None:
    """How the head's input is pooled: the model's argument, else what stands beside it."""
    for place in (model_args(config_json), config_json, pretrained(config_json)):
        if place.get("global_pool") is not None:
            return str(place["global_pool"])
    return None


def input_size(config_json: Mapping[str, Any]) -> Grid:
    """Height and width of the pixels."""
    _, height, width = pretrained(config_json).get("input_size") or (3, SIDE, SIDE)
    return height, width


def read_preprocessing(config_json: Mapping[str, Any], source: str) -> Preprocessing:
    """timm's evaluation transform: make the photo 1/crop_pct too large, and crop the middle."""
    stated = pretrained(config_json)
    height, width = input_size(config_json)
    share = stated.get("crop_pct") or CROP
    mode = stated.get("crop_mode") or "center"
    name = str(stated.get("interpolation") or "bicubic").upper()
    if mode not in CROP_MODES or name not in Image.Resampling.__members__:
        raise UnsupportedError(
            f"{source} prepares photos by crop_mode={mode}, interpolation={name.lower()}; readable "
            f"are {' and '.join(CROP_MODES)} with Pillow's interpolations."
        )
    resized = math.floor(height / share), math.floor(width / share)
    shorter = resized[0] if height == width and mode == "center" else resized
    return Preprocessing(
        resize=shorter,
        covers=mode == "center",
        crop=(height, width),
        rounds=True,
        resample=Image.Resampling[name],
        mean=_three(stated.get("mean") or IMAGENET_MEAN),
        std=_three(stated.get("std") or IMAGENET_STD),
    )


def read_labels(config_json: Mapping[str, Any], classes: int, source: str) -> tuple[str, ...]:
    """The names of the classes; where the file has none, honest numbers."""
    stated = config_json.get("label_names") or pretrained(config_json).get("label_names")
    if not stated:
        return numbered(classes)
    by_index = {
        int(index): str(name)
        for index, name in (stated.items() if isinstance(stated, dict) else enumerate(stated))
    }
    if not all(0 <= index < classes for index in by_index):
        raise CheckpointError(
            f"{source} names class {max(by_index)} but has {classes} classes; mend label_names."
        )
    told = config_json.get("label_descriptions") or {}
    names = (by_index.get(index, f"class_{index}") for index in range(classes))
    return tuple(str(told.get(name, name)) for name in names)


def numbered(classes: int) -> tuple[str, ...]:
    """Names for classes that nobody has named."""
    return tuple(f"class_{index}" for index in range(classes))


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    """One number for each of red, green and blue."""
    red, green, blue = values
    return red, green, blue
