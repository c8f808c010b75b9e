"""The content of an export; each writer takes what its format can represent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Document:
    """The numbers as a JSON object, and a function that draws the picture on demand."""

    content: Mapping[str, Any]
    draw: Callable[[], Figure]
