"""The shape of a Swin Transformer (arXiv 2103.14030)."""

import math
from dataclasses import dataclass
from typing import Literal

from vit_demo.checks import (
    DEEPEST,
    LARGEST_SIDE,
    check_flag,
    check_number,
    check_share,
    check_whole,
    check_wholes,
)
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
        self._check_kinds()
        for name in ("depths", "heads", "windows"):
            if len(getattr(self, name)) != len(self.depths) or not self.depths:
                raise ConfigError(
                    f"{name}={getattr(self, name)} and depths={self.depths} must name "
                    "the same stages; give one entry for each."
                )
        if sum(self.depths) > DEEPEST:
            raise ConfigError(f"depths={self.depths}, but at most {DEEPEST} blocks are built.")
        for stage, heads in enumerate(self.heads):
            check_whole(f"The width of stage {stage}", self.width_of(stage))
            hidden = int(self.width_of(stage) * self.mlp_ratio)
            check_whole(f"The width of the MLPs of stage {stage}", hidden)
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

    def _check_kinds(self) -> None:
        """Raise ConfigError for a value of the wrong kind, or outside its own range."""
        for name in ("classes", "width", "channels"):
            check_whole(name, getattr(self, name))
        for name in ("depths", "heads"):
            check_wholes(name, getattr(self, name))
        check_flag("qkv_bias", self.qkv_bias)
        check_number("mlp_ratio", self.mlp_ratio)
        for name in ("layer_norm_eps", "dropout", "attention_dropout", "drop_path"):
            check_share(name, getattr(self, name))
        check_whole("patch_size", self.patch_size, most=LARGEST_SIDE)
        check_wholes("image_size", self.image_size, count=2, most=LARGEST_SIDE)
        for window in self.windows:
            check_wholes("windows", window, count=2, most=LARGEST_SIDE)

    @property
    def grid(self) -> Grid:
        """Rows and columns of patches at the configured image size."""
        height, width = self.image_size
        return math.ceil(height / self.patch_size), math.ceil(width / self.patch_size)

    @property
    def cell(self) -> int:
        """Pixels along one side of a cell of the map."""
        return self.patch_size

    @property
    def least_side(self) -> int:
        """Pixels that an input must have along each side; what is missing to a patch is padded."""
        return 1

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
