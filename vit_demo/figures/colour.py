"""Values → colors, and the scale of the color bar."""

import sys
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.colors import to_hex
from torch import Tensor

# Perceptually uniform and readable for color-blind people; the second one has a neutral middle.
SEQUENTIAL, DIVERGING = "inferno", "PuOr_r"

PERCENTILE = 99.0


@dataclass(frozen=True)
class ColourScale:
    """The values at the two ends of the color bar.

    The upper end is a percentile of the map instead of its maximum, because one very large value
    would make all other patches look the same. The values are not changed; `clipped` patches are
    beyond the end and have its color.
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
        """The scale for one map; for a signed map it is symmetric about zero."""
        values = heatmap.abs() if signed else heatmap
        high = float(torch.quantile(values.flatten().double(), percentile / 100))
        low = -high if signed else float(values.min())
        return cls(low, high, signed, int((values > high).sum()))

    @property
    def colormap(self) -> str:
        """The name of the colormap in matplotlib."""
        return DIVERGING if self.signed else SEQUENTIAL

    def colours(self, values: Float[Tensor, "rows cols"]) -> UInt8[np.ndarray, "rows cols 3"]:
        """RGB of every value."""
        span = max(self.high - self.low, sys.float_info.min)
        normalized = ((values.double() - self.low) / span).clamp(0, 1)
        return mpl.colormaps[self.colormap](normalized.numpy(), bytes=True)[..., :3]

    def stops(self, count: int) -> list[str]:
        """`count` colors from low to high, as #rrggbb."""
        colormap = mpl.colormaps[self.colormap]
        return [to_hex(colormap(i / (count - 1))) for i in range(count)]
