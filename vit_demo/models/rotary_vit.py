"""Vision Transformers with rotary position embeddings (RoPE, arXiv 2104.09864) on a 2D grid.

Queries and keys of the patches are rotated before attention: half of the channels of each head by
the row of the patch, half by its column, with a lower frequency from channel to channel. Used by
EVA-02 (arXiv 2303.11331), RoPE-ViT (arXiv 2403.13298) and DINOv3 (arXiv 2508.10104). Prefix tokens
are not rotated. Everything else is a `VisionTransformer`.

    b   batch            n       tokens, prefix first    pairs   pairs of channels that rotate
    d   width of a head  heads   attention heads, or 1 for all of them
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from vit_demo.checks import LARGEST_NUMBER, LARGEST_SIDE, check_flag, check_number, check_wholes
from vit_demo.errors import ConfigError
from vit_demo.models.grids import Grid
from vit_demo.models.layers import Positions
from vit_demo.models.vit import VisionTransformer, ViTConfig
from vit_demo.trace import Trace

Coordinates = Literal["numbered", "centered"]

AXES = 2


@dataclass(frozen=True)
class RotaryViTConfig(ViTConfig):
    """The configuration of a ViT with rotary positions; invalid combinations raise ConfigError.

    `coordinates` are row and column numbers, starting at `offset`, or, in DINOv3, patch centers
    between −1 and 1. Numbers are scaled to a `reference` grid of (rows, columns), so that a larger
    input has the same range of angles. `temperature` is the base of the frequencies. With
    `columns_first`, the column rotates the first half of the channels. With `halves`, channel i
    rotates with channel i + d/2, otherwise with its neighbor. With `own_frequencies`, every block
    and head has learned frequencies.
    """

    coordinates: Coordinates = "numbered"
    offset: float = 0.0
    reference: Grid | None = None
    temperature: float = 10_000.0
    columns_first: bool = False
    halves: bool = False
    own_frequencies: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("columns_first", "halves", "own_frequencies"):
            check_flag(name, getattr(self, name))
        check_number("offset", self.offset, -LARGEST_NUMBER)
        check_number("temperature", self.temperature)
        if self.reference is not None:
            check_wholes("reference", self.reference, count=AXES, most=LARGEST_SIDE)
        if self.head_channels % (2 * AXES):
            raise ConfigError(
                f"The heads are {self.head_channels} channels wide, but rotary positions need a "
                f"multiple of {2 * AXES}; change width, heads or head_width."
            )

    @property
    def head_channels(self) -> int:
        """Channels of one head."""
        return self.head_width or self.width // self.heads

    def build(self) -> "RotaryViT":
        """Build this model with newly initialized weights."""
        return RotaryViT(self)


@dataclass(frozen=True, eq=False)
class Rotation:
    """Rotate the channels of the patches by angles with these cosines and sines."""

    cos: Float[Tensor, "heads n d"]
    sin: Float[Tensor, "heads n d"]
    prefix: int
    halves: bool

    def __call__(self, heads: Float[Tensor, "b heads n d"]) -> Float[Tensor, "b heads n d"]:
        unrotated, patches = heads[:, :, : self.prefix], heads[:, :, self.prefix :]
        pattern = "... (two d) -> two ... d" if self.halves else "... (d two) -> two ... d"
        first, second = rearrange(patches, pattern, two=2)
        back = pattern.split(" -> ")
        rotated = rearrange(torch.stack([-second, first]), f"{back[1]} -> {back[0]}")
        return torch.cat([unrotated, patches * self.cos + rotated * self.sin], dim=2)


class Rotary(nn.Module):
    """Compute the rotation of every block for a grid of patches."""

    def __init__(self, config: RotaryViTConfig) -> None:
        super().__init__()
        self.config = config
        if config.own_frequencies:
            pairs = config.head_channels // 2
            self.freqs = nn.Parameter(torch.zeros(AXES, config.depth, config.heads, pairs))
            nn.init.normal_(self.freqs, std=1.0)

    def forward(self, grid: Grid, like: Tensor) -> list[Rotation]:
        """One rotation for each block, in the precision of `like`."""
        config = self.config
        first, second = self.coordinates(grid, like.device)
        if config.own_frequencies:
            freqs = self.freqs.float()
            angles = first[:, None] * freqs[0][:, :, None] + second[:, None] * freqs[1][:, :, None]
            return [self._rotation(block, like) for block in angles]
        # Each axis rotates half of the pairs.
        count = config.head_channels // (2 * AXES)
        steps = torch.arange(count, device=like.device).float() / count
        freqs = 1.0 / config.temperature**steps
        unit = 2 * math.pi if config.coordinates == "centered" else 1.0
        angles = torch.cat([unit * axis[:, None] * freqs for axis in (first, second)], dim=1)
        return [self._rotation(angles[None], like)] * config.depth

    def coordinates(
        self, grid: Grid, device: torch.device
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Coordinates of every patch on the first and the second axis."""
        config = self.config
        axes = []
        for place, side in enumerate(grid):
            if config.coordinates == "centered":
                axis = (torch.arange(0.5, side, device=device) + config.offset) / side
                axes.append(2 * axis - 1)
                continue
            axis = torch.arange(side, device=device).float() + config.offset
            axes.append(axis if config.reference is None else axis / side * config.reference[place])
        down, across = torch.meshgrid(*axes, indexing="ij")
        rows, cols = down.flatten(), across.flatten()
        return (cols, rows) if config.columns_first else (rows, cols)

    def _rotation(self, angles: Float[Tensor, "heads n pairs"], like: Tensor) -> Rotation:
        halves = self.config.halves
        pattern = "heads n pairs -> heads n " + ("(two pairs)" if halves else "(pairs two)")
        cos, sin = (repeat(part.to(like), pattern, two=2) for part in (angles.cos(), angles.sin()))
        return Rotation(cos, sin, self.config.prefix, halves)


class RotaryViT(VisionTransformer):
    """Pixels to logits. An empty `Trace` records the pass; the logits stay bit-identical."""

    # The rotations are computed for the whole grid.
    drops_tokens = False

    def __init__(self, config: RotaryViTConfig) -> None:
        super().__init__(config)
        self.rope = Rotary(config)

    def forward(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        tokens = self.embed(pixels, trace)
        height, width = pixels.shape[-2:]
        grid = (height // self.config.patch_size, width // self.config.patch_size)
        positions = [Positions(rotate=rotation) for rotation in self.rope(grid, tokens)]
        return self.read(self._run_blocks(tokens, trace, positions), trace)
