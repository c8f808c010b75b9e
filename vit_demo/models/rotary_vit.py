"""Vision Transformers whose queries and keys are turned by angles that say where a patch stands.

Rotary positions (arXiv 2104.09864) over a plane: half of every head is turned by the patch's row
and half by its column, faster in the first channels than in the last ones. EVA-02
(arXiv 2303.11331), RoPE-ViT (arXiv 2403.13298) and DINOv3 (arXiv 2508.10104) do so. The tokens
before the patches are not turned. All else is a `VisionTransformer`.

    b   batch            n       tokens, the prefix first     pairs   pairs of channels that turn
    d   width of a head  heads   attention heads, or one for all of them
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
    """The shape of one ViT with rotary positions. Contradictions are refused when it is made.

    `coordinates` are the numbers of rows and columns from `offset` on, or, as in DINOv3, lie
    between −1 and 1 at the middles of the patches. Numbers are brought to a `reference` grid of
    (rows, columns), so that a larger input spans the same angles. `temperature` is the ratio of the
    fastest to the slowest turn. With `columns_first`, the first half of the channels is turned by
    the column. `halves` says that channel i turns with channel i + d/2, otherwise neighbours do.
    `own_frequencies` says that every block and head has learned how fast each pair turns.
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
        if self.turned % (2 * AXES):
            raise ConfigError(
                f"Heads of {self.turned} channels cannot be turned in pairs along two axes; choose "
                f"a multiple of {2 * AXES}."
            )

    @property
    def turned(self) -> int:
        """Channels of one head."""
        return self.head_width or self.width // self.heads

    def build(self) -> "RotaryViT":
        """The model of this shape, with fresh weights."""
        return RotaryViT(self)


@dataclass(frozen=True, eq=False)
class Rotation:
    """Cosines and sines by which the patches' channels turn; the prefix stands still."""

    cos: Float[Tensor, "heads n d"]
    sin: Float[Tensor, "heads n d"]
    prefix: int
    halves: bool

    def __call__(self, heads: Float[Tensor, "b heads n d"]) -> Float[Tensor, "b heads n d"]:
        still, patches = heads[:, :, : self.prefix], heads[:, :, self.prefix :]
        pattern = "... (two d) -> two ... d" if self.halves else "... (d two) -> two ... d"
        first, second = rearrange(patches, pattern, two=2)
        back = pattern.split(" -> ")
        across = rearrange(torch.stack([-second, first]), f"{back[1]} -> {back[0]}")
        return torch.cat([still, patches * self.cos + across * self.sin], dim=2)


class Rotary(nn.Module):
    """From a grid of patches to the rotation of every block."""

    def __init__(self, config: RotaryViTConfig) -> None:
        super().__init__()
        self.config = config
        if config.own_frequencies:
            pairs = config.turned // 2
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
        # As many frequencies for each axis as make up half of the pairs.
        count = config.turned // (2 * AXES)
        steps = torch.arange(count, device=like.device).float() / count
        freqs = 1.0 / config.temperature**steps
        turn = 2 * math.pi if config.coordinates == "centered" else 1.0
        angles = torch.cat([turn * axis[:, None] * freqs for axis in (first, second)], dim=1)
        return [self._rotation(angles[None], like)] * config.depth

    def coordinates(
        self, grid: Grid, device: torch.device
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Where every patch stands along the first axis and along the second."""
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
    """Pixels to logits. Hand in an empty `Trace` to watch a pass; the logits stay bit-identical."""

    # The rotations belong to the whole grid.
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
