"""Vision Transformers with a relative position bias.

The bias is added to the attention scores: one number for every head and every offset between two
patches. BEiT (arXiv 2106.08254) and Data2Vec (arXiv 2202.03555) learn a table of them for each
block, one table for all blocks, or both; other models compute the bias from the distance.
Everything else is a `VisionTransformer`.

    b   batch                  offsets   offsets in rows and columns between two patches:
    n   tokens, prefix first             (2 rows − 1)(2 cols − 1) of them
    d   token width            heads     attention heads
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from vit_demo.checks import check_flag, check_whole
from vit_demo.errors import ConfigError
from vit_demo.models.grids import Grid
from vit_demo.models.layers import Positions
from vit_demo.models.vit import VisionTransformer, ViTConfig
from vit_demo.models.windows import relative_offsets
from vit_demo.trace import Trace

Kind = Literal["table", "distance"]

# Table entries after the offsets, for prefix tokens, which have no position: from them to patches,
# from patches to them, and among them.
TO_PATCHES, TO_PREFIX, WITHIN_PREFIX = range(3)
NOWHERE = 3


@dataclass(frozen=True)
class RelativeViTConfig(ViTConfig):
    """The configuration of a ViT with relative positions; invalid combinations raise ConfigError.

    `bias` is a learned table, or the output of an MLP of `bias_width` hidden channels whose input
    is the logarithm of the distance (arXiv 2111.09883). With `own_bias` every block has its own,
    with `shared_bias` all blocks share one; with both, the two are added.

    A table is interpolated bilinearly for another grid. With `exchanged`, the table of a
    rectangular grid is read with rows and columns swapped; transformers does this in training too.
    """

    bias: Kind = "table"
    own_bias: bool = True
    shared_bias: bool = False
    bias_width: int = 512
    exchanged: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("own_bias", "shared_bias", "exchanged"):
            check_flag(name, getattr(self, name))
        check_whole("bias_width", self.bias_width)
        if self.prefix > 1:
            raise ConfigError(
                f"There are {self.prefix} prefix tokens, but a relative position bias has entries "
                "for one at most; remove registers."
            )

    def build(self) -> "RelativeViT":
        """Build this model with newly initialized weights."""
        return RelativeViT(self)


@dataclass(frozen=True, eq=False)
class OffsetBias:
    """A bias for every pair of tokens, stored as one number for every head and offset."""

    values: Float[Tensor, "heads offsets"]
    index: Int[Tensor, "n n"]

    def rows(self, rows: slice) -> Float[Tensor, "1 heads rows n"]:
        """The bias of the selected query rows."""
        return self.values[:, self.index[rows]][None]


def offset_index(grid: Grid, prefix: int, device: torch.device) -> Int[Tensor, "n n"]:
    """For every pair of tokens, the index of its offset or of its prefix entry."""
    offsets = (2 * grid[0] - 1) * (2 * grid[1] - 1)
    index = functional.pad(relative_offsets(grid, grid, device), (prefix, 0, prefix, 0))
    index[:prefix] = offsets + TO_PATCHES
    index[:, :prefix] = offsets + TO_PREFIX
    index[:prefix, :prefix] = offsets + WITHIN_PREFIX
    return index


class BiasTable(nn.Module):
    """One learned number for every head and offset of the configured grid."""

    def __init__(self, config: RelativeViTConfig) -> None:
        super().__init__()
        self.sides = (2 * config.grid[0] - 1, 2 * config.grid[1] - 1)
        self.exchanged = config.exchanged
        prefix_entries = NOWHERE if config.prefix else 0
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros(math.prod(self.sides) + prefix_entries, config.heads)
        )

    def forward(self, grid: Grid) -> Float[Tensor, "heads offsets"]:
        """The bias of every offset of a grid, then the prefix entries."""
        sides = (2 * grid[0] - 1, 2 * grid[1] - 1)
        table = self.relative_position_bias_table.T
        rows, cols = reversed(self.sides) if self.exchanged else self.sides
        if sides == (rows, cols):
            return table
        count = math.prod(self.sides)
        plane = rearrange(table[:, :count], "heads (rows cols) -> 1 heads rows cols", rows=rows)
        plane = functional.interpolate(plane, size=sides, mode="bilinear", align_corners=False)
        return torch.cat(
            [rearrange(plane, "1 heads rows cols -> heads (rows cols)"), table[:, count:]], dim=1
        )


class DistanceMlp(nn.Module):
    """An MLP from the row and column distance to one number per head."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        axes = 2
        self.fc1 = nn.Linear(axes, hidden)
        self.fc2 = nn.Linear(hidden, heads)

    def forward(self, distance: Float[Tensor, "offsets 2"]) -> Float[Tensor, "offsets heads"]:
        return self.fc2(functional.relu(self.fc1(distance)))


class BiasOfDistance(nn.Module):
    """An MLP applied to the logarithm of the distance in rows and in columns.

    The bias of prefix tokens is 0.
    """

    def __init__(self, config: RelativeViTConfig) -> None:
        super().__init__()
        self.prefix_entries = NOWHERE if config.prefix else 0
        self.mlp = DistanceMlp(config.bias_width, config.heads)

    def forward(self, grid: Grid) -> Float[Tensor, "heads offsets"]:
        """The bias of every offset of a grid, then the prefix entries."""
        like = self.mlp.fc1.weight
        down, across = (
            torch.arange(1 - side, side, device=like.device, dtype=like.dtype) for side in grid
        )
        offsets = torch.cartesian_prod(down, across)
        logs = offsets.sign() * offsets.abs().log1p()
        values = self.mlp(logs)
        return functional.pad(values.T, (0, self.prefix_entries))


class RelativeViT(VisionTransformer):
    """Pixels to logits. An empty `Trace` records the pass; the logits stay bit-identical."""

    # The bias is computed for the whole grid.
    drops_tokens = False

    def __init__(self, config: RelativeViTConfig) -> None:
        super().__init__(config)
        self.own_bias = config.own_bias
        self.shared_rel_pos = _bias(config) if config.shared_bias else None
        if config.own_bias:
            for block in self.blocks:
                block.get_submodule("attn").add_module("rel_pos", _bias(config))
        for parameter in (p for n, p in self.named_parameters() if n.endswith("bias_table")):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        tokens = self.embed(pixels, trace)
        height, width = pixels.shape[-2:]
        grid = (height // self.config.patch_size, width // self.config.patch_size)
        return self.read(self._run_blocks(tokens, trace, self.positions(grid)), trace)

    def positions(self, grid: Grid) -> list[Positions]:
        """The bias of each block for a grid of patches."""
        index = offset_index(grid, self.config.prefix, self.head.weight.device)
        shared = None if self.shared_rel_pos is None else self.shared_rel_pos(grid)
        if not self.own_bias:
            same = None if shared is None else OffsetBias(shared, index)
            return [Positions(same)] * len(self.blocks)
        own = (block.get_submodule("attn.rel_pos")(grid) for block in self.blocks)
        return [Positions(OffsetBias(v if shared is None else v + shared, index)) for v in own]


def _bias(config: RelativeViTConfig) -> nn.Module:
    return BiasTable(config) if config.bias == "table" else BiasOfDistance(config)
