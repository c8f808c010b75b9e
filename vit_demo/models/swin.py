"""The Swin Transformer: pixels → patches → stages of shifted windows → mean → logits.

Implemented after Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted
Windows" (arXiv 2103.14030), section 3; the numbers in brackets are the paper's equations. Parameter
names are timm's.

    b   batch            h, w         image height and width in pixels
    n   tokens of the stage's grid, row by row; every stage after the first has a quarter of them
    d   token width, doubled by every stage after the first
    groups, slots        windows, and positions in one window
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

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
from vit_demo.models.base import MERGED_TOKENS, Classifier, ModelConfig
from vit_demo.models.grids import Grid, square_sharing, token_sharing
from vit_demo.models.layers import DropPath, Gelu, MeanHead, Mlp, PatchEmbedding, initialise
from vit_demo.models.windows import WindowAttention, Windows, cut_windows
from vit_demo.trace import Trace

Convention = Literal["transformers", "timm"]


@dataclass(frozen=True)
class SwinConfig(ModelConfig):
    """The configuration of a Swin Transformer; invalid combinations raise ConfigError.

    Sizes are (height, width) in pixels; depths, heads and windows (rows, columns) have one entry
    per stage. `convention` is the treatment of grids that do not fit the windows. transformers pads
    before the shift, and shrinks the window to the shorter side of a small input's grid. timm pads
    after the shift, and uses the windows of `image_size` for every input.
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
        """Raise ConfigError for a value of the wrong type or outside its range."""
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
        """The minimum height and width of an input, in pixels; incomplete patches are padded."""
        return 1

    def build(self) -> "Swin":
        """Build this model with newly initialized weights."""
        return Swin(self)

    def block(self, stage: int, drop_path: float) -> nn.Module:
        """One block of a stage."""
        return SwinBlock(self, stage, drop_path)

    def merging(self, stage: int) -> nn.Module:
        """The patch merging at the start of a stage."""
        return PatchMerging(self.width_of(stage - 1))

    def width_of(self, stage: int) -> int:
        """Token width in a stage."""
        return self.width * 2**stage

    def tiling(self, stage: int, grid: Grid) -> tuple[Grid, Grid]:
        """The window on a stage's grid, and the shift of every second block.

        There is no shift along an axis that one window covers completely.
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


# Both libraries use PyTorch's default in the norms before the first block and between stages.
OUTER_EPS = 1e-5


class SwinPatchEmbedding(PatchEmbedding):
    """Patches to tokens, then a layer norm; the image is padded with zeros to whole patches."""

    def __init__(self, config: SwinConfig) -> None:
        norm = nn.LayerNorm(config.width, eps=OUTER_EPS)
        super().__init__(config.patch_size, config.channels, config.width, norm=norm)
        self.patch_size = config.patch_size

    def forward(self, pixels: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b rows cols d"]:
        below, right = (-side % self.patch_size for side in pixels.shape[-2:])
        return super().forward(functional.pad(pixels, (0, right, 0, below)))


class SwinBlock(nn.Module):
    """z' = (S)W-MSA(LN(z)) + z, then z = MLP(LN(z')) + z'  [eq. 3]."""

    def __init__(self, config: SwinConfig, stage: int, drop_path: float) -> None:
        super().__init__()
        width = config.width_of(stage)
        self.norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.attn = WindowAttention(
            width,
            config.heads[stage],
            config.windows[stage],
            config.qkv_bias,
            config.attention_dropout,
            config.dropout,
        )
        self.norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = Mlp(width, int(width * config.mlp_ratio), config.gelu, config.dropout)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        tokens: Float[Tensor, "b n d"],
        windows: Windows,
        trace: Trace | None = None,
    ) -> Float[Tensor, "b n d"]:
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens), windows, trace))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class PatchMerging(nn.Module):
    """Concatenate 2 × 2 neighboring tokens and project them to one token of twice the width.

    Odd grids are padded with zeros at the bottom and right.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width, eps=OUTER_EPS)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(
        self, tokens: Float[Tensor, "b n d"], grid: Grid, trace: Trace | None = None
    ) -> Float[Tensor, "b m e"]:
        return self.reduction(self.norm(squares_of(tokens, grid, trace)))


def squares_of(
    tokens: Float[Tensor, "b n d"], grid: Grid, trace: Trace | None = None
) -> Float[Tensor, "b m four_d"]:
    """Concatenate the channels of 2 × 2 neighboring tokens."""
    plane = rearrange(tokens, "b (rows cols) d -> b rows cols d", rows=grid[0])
    plane = functional.pad(plane, (0, 0, 0, grid[1] % 2, 0, grid[0] % 2))
    if trace is not None:
        trace.record(square_sharing(grid, 2, stride=2, start=0, device=tokens.device))
    return rearrange(plane, "b (rows p) (cols q) d -> b (rows cols) (q p d)", p=2, q=2)


class SwinStage(nn.Module):
    """Blocks on one grid, every second one with shifted windows; merging comes first."""

    def __init__(self, config: SwinConfig, stage: int, drop_paths: Sequence[float]) -> None:
        super().__init__()
        self.config = config
        self.stage = stage
        if stage:
            self.downsample = config.merging(stage)
        self.blocks = nn.ModuleList(config.block(stage, rate) for rate in drop_paths)

    def forward(
        self, tokens: Float[Tensor, "b n d"], grid: Grid, trace: Trace | None = None
    ) -> tuple[Float[Tensor, "b m e"], Grid]:
        if self.stage:
            tokens = self.downsample(tokens, grid, trace)
            grid = (math.ceil(grid[0] / 2), math.ceil(grid[1] / 2))
        window, shift = self.config.tiling(self.stage, grid)
        order = "pad first" if self.config.convention == "transformers" else "shift first"
        unshifted, shifted = (
            cut_windows(grid, window, by, order, tokens.device) for by in ((0, 0), shift)
        )
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, shifted if number % 2 else unshifted, trace)
            if trace is not None:
                trace.record_hidden_state(tokens)
        return tokens, grid


class Swin(Classifier[SwinConfig]):
    """Pixels to logits. An empty `Trace` records the pass; the logits stay bit-identical."""

    exact_flows = True
    unreadable_layers = None

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = SwinPatchEmbedding(config)
        self.pos_drop = nn.Dropout(config.dropout)
        rising = torch.linspace(0, config.drop_path, sum(config.depths), device="cpu")
        self.layers = nn.ModuleList(
            SwinStage(config, stage, rates.tolist())
            for stage, rates in enumerate(rising.split(config.depths))
        )
        last = config.width_of(len(config.depths) - 1)
        self.norm = nn.LayerNorm(last, eps=config.layer_norm_eps)
        self.head = MeanHead(last, config.classes)
        initialise(self)

    def forward(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        patches = self.patch_embed(pixels)
        grid = (patches.shape[1], patches.shape[2])
        if trace is not None:
            trace.begin(grid)
        tokens = self.pos_drop(rearrange(patches, "b rows cols d -> b (rows cols) d"))
        for stage in self.layers:
            tokens, grid = stage(tokens, grid, trace)
        return self.read(tokens, trace)

    def read(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """Apply the head to the tokens after any block of the last stage."""
        if trace is not None:
            count = tokens.shape[1]
            trace.record(token_sharing(range(count), count, tokens.device))
        return self.head(self.norm(tokens))

    def patch_kernel(self) -> Float[Tensor, "d channels p q"]:
        return self.patch_embed.proj.weight.detach()

    @classmethod
    def no_linear_read_out(cls, config: SwinConfig | None = None) -> str | None:
        del config
        return MERGED_TOKENS
