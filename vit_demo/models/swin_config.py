"""The shape of a Swin Transformer (arXiv 2103.14030)."""

import math
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from vit_demo.errors import ConfigError
from vit_demo.models.grids import Grid
from vit_demo.models.layers import Gelu

Convention = Literal["transformers", "timm"]


@dataclass(frozen=True)
class SwinConfig:
    """The shape of one Swin Transformer. Contradictions are refused when it is made.

    Sizes are (height, width) in pixels; depths, heads and windows (rows, columns) are listed stage
    by stage. `convention` says whose way with grids that do not fit the windows: transformers pads
    before it shifts, and shrinks the window to the shorter side of a small input's grid; timm pads
    after it shifts, and keeps the windows that suit `image_size` for every input.
    """

    classes: int
    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    windows: tuple[Grid, ...] = ((7, 7),) * 4
    mlp_ratio: float = 4.0
    patch_size: int = 4
    image_size: tuple[int, int] = (224, 224)
    channels: int = 3
    qkv_bias: bool = True
    gelu: Gelu = "exact"
    layer_norm_eps: float = 1e-5
    convention: Convention = "transformers"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        for name in ("classes", "width", "patch_size", "channels", "mlp_ratio"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}={getattr(self, name)}, but it must be above 0.")
        for name in ("depths", "heads", "windows"):
            if len(getattr(self, name)) != len(self.depths) or not self.depths:
                raise ConfigError(
                    f"{name}={getattr(self, name)} and depths={self.depths} must name "
                    "the same stages; give one entry for each."
                )
        if min(*self.depths, *self.heads, *chain(*self.windows), *self.image_size) < 1:
            raise ConfigError("depths, heads, windows and image_size must be 1 or more.")
        for stage, heads in enumerate(self.heads):
            if self.width_of(stage) % heads:
                raise ConfigError(
                    f"Stage {stage} is {self.width_of(stage)} wide, which {heads} heads cannot "
                    "share evenly; choose a multiple."
                )
        if self.convention == "transformers" and any(h != w for h, w in self.windows):
            raise ConfigError(
                f"windows={self.windows}, but transformers' windows are square; "
                'make them so, or choose convention="timm".'
            )
        for name in ("dropout", "attention_dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}, but it must lie in [0, 1).")

    @property
    def grid(self) -> Grid:
        """Rows and columns of patches at the configured image size."""
        height, width = self.image_size
        return math.ceil(height / self.patch_size), math.ceil(width / self.patch_size)

    @property
    def cell(self) -> int:
        """Pixels along one side of a cell of the map."""
        return self.patch_size

    def width_of(self, stage: int) -> int:
        """Token width in a stage."""
        return self.width * 2**stage

    def tiling(self, stage: int, grid: Grid) -> tuple[Grid, Grid]:
        """The window on a stage's grid, and the shift that every second block gives it.

        Along an axis where one window already sees everything there is nothing to shift.
        """
        window = self.windows[stage]
        if self.convention == "transformers":
            shorter = min(grid)
            if shorter <= window[0]:
                return (shorter, shorter), (0, 0)
            return window, (window[0] // 2, window[1] // 2)
        rows, cols = (math.ceil(side / 2**stage) for side in self.grid)
        return window, (
            window[0] // 2 if rows > window[0] else 0,
            window[1] // 2 if cols > window[1] else 0,
        )
