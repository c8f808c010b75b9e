"""The contents of timm's config.json, in its old and its new form.

New: {"architecture", "num_classes", "model_args"?, "label_names"?, "pretrained_cfg": {…}}. Old: the
entries of pretrained_cfg are at the top level, and model_args is missing.
"""

import math
from collections.abc import Mapping
from reprlib import repr as shortened
from typing import Any

from PIL import Image
from torch import Tensor

from vit_demo.checkpoints.files import CONFIG
from vit_demo.checkpoints.values import number, section, whole
from vit_demo.checks import LARGEST_NUMBER, LARGEST_SIDE, SMALLEST_NUMBER, check_number, check_whole
from vit_demo.errors import CheckpointError, ConfigError, UnsupportedError
from vit_demo.models.grids import Grid
from vit_demo.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

# timm's defaults.
SIDE = 224
CROP = 0.875
# A crop outside these limits has no pixels, or too many.
LEAST_CROP, MOST_CROP = 0.01, 100.0

CROP_MODES = ("center", "squash")


def model_args(config_json: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments that the model was made with, as far as the file has them."""
    return section(config_json, "model_args")


def pretrained(config_json: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entries about the weights and their preprocessing."""
    return section(config_json, "pretrained_cfg") or config_json


def pooling(config_json: Mapping[str, Any]) -> str | None:
    """How the head pools its input: the model's argument, else the top-level entry."""
    for place in (model_args(config_json), config_json, pretrained(config_json)):
        if place.get("global_pool") is not None:
            return str(place["global_pool"])
    return None


def classes_of(config_json: Mapping[str, Any], head: Tensor | None) -> int:
    """The number of classes: the length of the head's bias, else the stated number, at least 1."""
    if head is not None:
        return head.numel()
    return max(1, whole(config_json, "num_classes", 1, least=0))


def input_size(config_json: Mapping[str, Any], side: int = SIDE) -> Grid:
    """Height and width of the input in pixels; `side` by default."""
    stated = pretrained(config_json).get("input_size")
    if stated is None:
        return side, side
    _, height, width = _three_values(stated, "input_size")
    for value in (height, width):
        check_whole(f"{CONFIG}: input_size", value, most=LARGEST_SIDE)
    return height, width


def read_preprocessing(config_json: Mapping[str, Any], source: str) -> Preprocessing:
    """timm's evaluation transform: resize to size / crop_pct, then crop the center."""
    stated = pretrained(config_json)
    height, width = input_size(config_json)
    given = {name: value for name, value in stated.items() if value is not None}
    share = number(given, "crop_pct", CROP, LEAST_CROP, MOST_CROP)
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
        mean=_colors(given, "mean", IMAGENET_MEAN, -LARGEST_NUMBER),
        std=_colors(given, "std", IMAGENET_STD, SMALLEST_NUMBER),
    )


def states_preprocessing(config_json: Mapping[str, Any]) -> bool:
    """Whether mean and std are stated; timm's defaults for an architecture are only in timm."""
    stated = pretrained(config_json)
    return all(stated.get(name) is not None for name in ("mean", "std"))


def read_labels(config_json: Mapping[str, Any], classes: int, source: str) -> tuple[str, ...]:
    """The class names; numbers if the file has none."""
    stated = config_json.get("label_names") or pretrained(config_json).get("label_names")
    if not stated:
        return numbered(classes)
    by_index = _numbered_names(stated)
    if not all(0 <= index < classes for index in by_index):
        raise CheckpointError(
            f"{source} names class {max(by_index)} but has {classes} classes; correct label_names."
        )
    descriptions = section(config_json, "label_descriptions")
    names = (by_index.get(index, f"class_{index}") for index in range(classes))
    return tuple(str(descriptions.get(name, name)) for name in names)


def numbered(classes: int) -> tuple[str, ...]:
    """Placeholder names for classes without names."""
    return tuple(f"class_{index}" for index in range(classes))


def _numbered_names(stated: Any) -> dict[int, str]:
    """Names by index, from a list or from an object with index keys."""
    match stated:
        case list() | tuple():
            return {index: str(name) for index, name in enumerate(stated)}
        case dict() if all(str(index).isdecimal() for index in stated):
            return {int(index): str(name) for index, name in stated.items()}
    raise ConfigError(
        f"{CONFIG}: label_names={shortened(stated)}, but it must list names, or number them as in "
        '{"0": "daisy"}.'
    )


def _three_values(values: Any, name: str) -> tuple[Any, Any, Any]:
    """The three entries of a list."""
    match values:
        case [first, second, third]:
            return first, second, third
    raise ConfigError(f"{CONFIG}: {name}={shortened(values)}, but it must list three numbers.")


def _colors(
    stated: Mapping[str, Any], name: str, default: tuple[float, float, float], least: float
) -> tuple[float, float, float]:
    """One number for each of red, green and blue."""
    red, green, blue = _three_values(stated.get(name, default), name)
    for value in (red, green, blue):
        check_number(f"{CONFIG}: {name}", value, least)
    return float(red), float(green), float(blue)
