"""Check one value of a configuration: its type, that it is finite, and its range.

JSON files can contain NaN, Infinity, integers too large for a float, and `true`, which Python
treats as 1. Each of these can pass a comparison and fail much later, far from where it was read.
"""

import math
from reprlib import repr as shortened
from typing import TypeGuard

from vit_demo.errors import ConfigError

# Far beyond any published model; larger values would only exhaust the memory.
LARGEST_COUNT, LARGEST_SIDE, DEEPEST = 1_000_000, 4096, 1_000
# Factors outside this range overflow or underflow float32 after a few multiplications.
SMALLEST_NUMBER, LARGEST_NUMBER = 1e-6, 1e6


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is an integer, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[int | float]:
    """Whether it is a number that fits into a finite float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def check_whole(name: str, value: object, least: int = 1, most: int = LARGEST_COUNT) -> None:
    """Raise ConfigError unless it is an integer from `least` to `most`."""
    if not is_whole(value):
        raise ConfigError(f"{name}={shortened(value)}, but it must be a whole number.")
    if not least <= value <= most:
        raise ConfigError(f"{name}={shortened(value)}, but it must lie between {least} and {most}.")


def check_number(
    name: str, value: object, least: float = SMALLEST_NUMBER, most: float = LARGEST_NUMBER
) -> None:
    """Raise ConfigError unless it is a finite number from `least` to `most`."""
    if not is_finite(value):
        raise ConfigError(f"{name}={shortened(value)}, but it must be a finite number.")
    if not least <= value <= most:
        raise ConfigError(
            f"{name}={shortened(value)}, but it must lie between {least:g} and {most:g}."
        )


def check_share(name: str, value: object) -> None:
    """Raise ConfigError unless it lies in [0, 1)."""
    if not (is_finite(value) and 0 <= value < 1):
        raise ConfigError(f"{name}={shortened(value)}, but it must lie in [0, 1).")


def check_flag(name: str, value: object) -> None:
    """Raise ConfigError unless it is true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name}={shortened(value)}, but it must be true or false.")


def check_wholes(
    name: str, values: object, count: int | None = None, least: int = 1, most: int = LARGEST_COUNT
) -> None:
    """Raise ConfigError unless it is a tuple of `count` integers from `least` to `most`."""
    if not isinstance(values, tuple) or (count is not None and len(values) != count):
        expected = "whole numbers" if count is None else f"{count} whole numbers"
        raise ConfigError(f"{name}={shortened(values)}, but it must be {expected}.")
    for position, value in enumerate(values):
        check_whole(f"{name}[{position}]", value, least, most)
