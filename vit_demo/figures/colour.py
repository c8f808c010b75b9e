"""Numbers → colours, and what the colours stand for."""

import sys
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.colors import to_hex
from torch import Tensor

# Perceptually uniform, readable without colour vision; the second one has a neutral middle.
SEQUENTIAL, DIVERGING = "inferno", "PuOr_r"

PERCENTILE = 99.0


@dataclass(frozen=True)
class ColourScale:
    """The values at the two ends of the colour bar.

    The upper end is a percentile of the map rather than its maximum: one very hot patch would
    otherwise leave the rest without colour. The numbers themselves are never changed; `clipped`
    patches lie beyond the end and are drawn in its colour.
    """

    low: float
    high: float
    signed: bool
    clipped: int

    @classmethod
    def of(
        cls,
        heatmap: Float[Tensor, "rows cols"],
        signed: bool = False,
        percentile: float = PERCENTILE,
    ) -> "ColourScale":
        """The scale that suits one map; a signed one is symmetric about zero."""
        values = heatmap.abs() if signed else heatmap
        high = float(torch.quantile(values.flatten().double(), percentile / 100))
        low = -high if signed else float(values.min())
        return cls(low, high, signed, int((values > high).sum()))

    @property
    def colormap(self) -> str:
        """Its name in matplotlib."""
        return DIVERGING if self.signed else SEQUENTIAL

    def colours(self, values: Float[Tensor, "rows cols"]) -> UInt8[np.ndarray, "rows cols 3"]:
        """RGB of every value."""
        spread = max(self.high - self.low, sys.float_info.min)
        placed = ((values.double() - self.low) / spread).clamp(0, 1)
        return mpl.colormaps[self.colormap](placed.numpy(), bytes=True)[..., :3]

    def stops(self, count: int) -> list[str]:
        """`count` colours from end to end, as #rrggbb."""
        colormap = mpl.colormaps[self.colormap]
        return [to_hex(colormap(i / (count - 1))) for i in range(count)]
