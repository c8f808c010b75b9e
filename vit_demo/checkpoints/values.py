"""Read and check one value of a checkpoint file; errors name the value and the file.

A missing value gets the `default`. Every error is a ConfigError; the caller that reads the
checkpoint adds the checkpoint's name.
"""

from collections.abc import Mapping, Sequence
from reprlib import repr as shortened
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.files import CONFIG
from vit_demo.checks import (
    LARGEST_COUNT,
    LARGEST_NUMBER,
    LARGEST_SIDE,
    SMALLEST_NUMBER,
    check_flag,
    check_number,
    check_whole,
    check_wholes,
)
from vit_demo.errors import ConfigError

Stated = Mapping[str, Any]


def whole(
    stated: Stated,
    name: str,
    default: int,
    least: int = 1,
    most: int = LARGEST_COUNT,
    file: str = CONFIG,
) -> int:
    """Read a whole number from `least` to `most`."""
    value = stated.get(name, default)
    check_whole(f"{file}: {name}", value, least, most)
    return value


def wholes(
    stated: Stated,
    name: str,
    default: Sequence[int],
    count: int | None = None,
    file: str = CONFIG,
) -> tuple[int, ...]:
    """Read a list of positive whole numbers; `count` is the required length."""
    value = stated.get(name, default)
    listed = tuple(value) if isinstance(value, list | tuple) else value
    check_wholes(f"{file}: {name}", listed, count)
    return listed


def number(
    stated: Stated,
    name: str,
    default: float,
    least: float = SMALLEST_NUMBER,
    most: float = LARGEST_NUMBER,
    file: str = CONFIG,
) -> float:
    """Read a finite number from `least` to `most`."""
    value = stated.get(name, default)
    check_number(f"{file}: {name}", value, least, most)
    return float(value)


def flag(stated: Stated, name: str, default: bool, file: str = CONFIG) -> bool:
    """Read a boolean; null is false, as in the libraries."""
    value = stated.get(name, default)
    if value is None:
        return False
    check_flag(f"{file}: {name}", value)
    return value


def sides(stated: Stated, name: str, default: int | tuple[int, int]) -> tuple[int, int]:
    """Read height and width in pixels, from one number for both or from two."""
    return pair(stated.get(name, default), f"{CONFIG}: {name}")


def pair(size: Any, name: str) -> tuple[int, int]:
    """Height and width, from one number for both or from two."""
    match size:
        case [height, width]:
            check_whole(name, height, most=LARGEST_SIDE)
            check_whole(name, width, most=LARGEST_SIDE)
            return height, width
        case list() | tuple() | dict() | str():
            raise ConfigError(f"{name}={shortened(size)}, but it must be one whole number or two.")
    check_whole(name, size, most=LARGEST_SIDE)
    return size, size


def section(stated: Stated, name: str, file: str = CONFIG) -> Stated:
    """Read an object within the file; null gives an empty one."""
    value = stated.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{file}: {name}={shortened(value)}, but it must be an object, {{…}}.")
    return value


def shape_of(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a tensor with this many dimensions, none of them 0; KeyError if missing."""
    shape = tuple(tensors[name].shape)
    if len(shape) != dimensions or 0 in shape:
        raise ConfigError(
            f"the tensor {name} has the shape {shape}, but it must have {dimensions} "
            f"dimension{'s' * (dimensions != 1)}, each of 1 or more."
        )
    return shape
