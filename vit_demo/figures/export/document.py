"""What is exported, for a writer to take what its format can hold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Document:
    """The numbers as a JSON object, and how to draw the picture; it is drawn only where wanted."""

    content: Mapping[str, Any]
    draw: Callable[[], Figure]
