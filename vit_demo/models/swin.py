"""The Swin Transformer: pixels → patches → stages of shifted windows → mean → logits.

Written after Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows"
(arXiv 2103.14030), section 3; the numbers in brackets are the paper's equations. Parameter names
are timm's.

    b   batch            h, w         pixels down, across
    n   tokens of the stage's grid, row by row; every stage after the first has a quarter of them
    d   token width, doubled by every stage after the first
    groups, slots        windows, and places in one window
"""

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from vit_demo.models.dropping import DropPath
from vit_demo.models.grids import Grid, square_sharing, token_sharing
from vit_demo.models.layers import MeanHead, Mlp, PatchEmbedding, initialise
from vit_demo.models.swin_config import SwinConfig
from vit_demo.models.windows import WindowAttention, Windows, cut_windows
from vit_demo.trace import Trace

__all__ = ["Swin", "SwinConfig"]

# Both libraries keep PyTorch's default in the norms before the first block and between stages.
OUTER_EPS = 1e-5


class SwinPatchEmbedding(PatchEmbedding):
    """Patches to tokens, then a layer norm; the picture is padded to whole patches with zeros."""

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
    """Two by two neighbouring tokens, side by side, become one of twice the width.

    Odd grids are padded with zeros below and at the right.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width, eps=OUTER_EPS)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(
        self, tokens: Float[Tensor, "b n d"], grid: Grid, trace: Trace | None = None
    ) -> Float[Tensor, "b m e"]:
        plane = rearrange(tokens, "b (rows cols) d -> b rows cols d", rows=grid[0])
        plane = functional.pad(plane, (0, 0, 0, grid[1] % 2, 0, grid[0] % 2))
        squares = rearrange(plane, "b (rows p) (cols q) d -> b (rows cols) (q p d)", p=2, q=2)
        if trace is not None:
            trace.record(square_sharing(grid, 2, stride=2, start=0, device=tokens.device))
        return self.reduction(self.norm(squares))


class SwinStage(nn.Module):
    """Blocks on one grid, every second one with shifted windows; merging comes first."""

    def __init__(self, config: SwinConfig, stage: int, drop_paths: Sequence[float]) -> None:
        super().__init__()
        self.config = config
        self.stage = stage
        if stage:
            self.downsample = PatchMerging(config.width_of(stage - 1))
        self.blocks = nn.ModuleList(SwinBlock(config, stage, rate) for rate in drop_paths)

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


class Swin(nn.Module):
    """Pixels to logits. Hand in an empty `Trace` to watch a pass; the logits stay bit-identical."""

    # Whether the flows say exactly which tokens reach which.
    exact_flows = True

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
        """What the head makes of the tokens that a block of the last stage left."""
        if trace is not None:
            count = tokens.shape[1]
            trace.record(token_sharing(range(count), count, tokens.device))
        return self.head(self.norm(tokens))
