"""MobileViT V2: a MobileViT with separable attention, whose cost is linear in the tokens.

Implemented after Mehta and Rastegari, "Separable Self-attention for Mobile Vision Transformers"
(arXiv 2206.02680), section 3. Parameter names are timm's.

    b   batch       p   places in a patch; each attends separately   h, w   feature map size
    c   channels    n   patches                                      d      token width
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from vit_demo.checks import (
    DEEPEST,
    LARGEST_SIDE,
    check_number,
    check_share,
    check_whole,
    check_wholes,
)
from vit_demo.errors import ConfigError
from vit_demo.models.base import MERGED_TOKENS, Classifier, ModelConfig
from vit_demo.models.convolutions import KERNEL, ConvNorm, InvertedResidual, round_to_eight
from vit_demo.models.grids import Grid, resized, token_sharing
from vit_demo.models.layers import MeanHead, initialise
from vit_demo.models.mobilevit import CELL, STAGES, Stage
from vit_demo.trace import Attention, Trace

Convention = Literal["transformers", "timm"]
# Blocks in each of the stages without attention.
BLOCKS = (1, 2)
ATTENDING = STAGES - len(BLOCKS)


@dataclass(frozen=True)
class MobileViTV2Config(ModelConfig):
    """The configuration of a MobileViT V2; invalid combinations raise ConfigError.

    `widths`, `mlp_widths` and `depths` belong to the last three stages, which have attention.
    `convention` is the treatment of feature maps that are not a whole number of patches: timm
    enlarges them, and transformers sets the remainder to zero.
    """

    classes: int
    stem: int = 32
    channels_of_stages: tuple[int, ...] = (64, 128, 256, 384, 512)
    widths: tuple[int, ...] = (128, 192, 256)
    mlp_widths: tuple[int, ...] = (256, 384, 512)
    depths: tuple[int, ...] = (2, 4, 3)
    expansion: float = 2.0
    patch_size: int = 2
    image_size: tuple[int, int] = (256, 256)
    channels: int = 3
    layer_norm_eps: float = 1e-5
    convention: Convention = "transformers"

    def __post_init__(self) -> None:
        for name in ("classes", "stem", "channels"):
            check_whole(name, getattr(self, name))
        check_wholes("channels_of_stages", self.channels_of_stages, count=STAGES)
        for name in ("widths", "mlp_widths", "depths"):
            check_wholes(name, getattr(self, name), count=ATTENDING)
        check_number("expansion", self.expansion)
        check_share("layer_norm_eps", self.layer_norm_eps)
        check_whole("patch_size", self.patch_size, most=LARGEST_SIDE)
        check_wholes("image_size", self.image_size, count=2, most=LARGEST_SIDE)
        if sum(self.depths) > DEEPEST:
            raise ConfigError(f"depths={self.depths}, but at most {DEEPEST} blocks are built.")

    @property
    def grid(self) -> Grid:
        """Rows and columns of the first attention's map at the configured image size."""
        return math.ceil(self.image_size[0] / CELL), math.ceil(self.image_size[1] / CELL)

    @property
    def cell(self) -> int:
        """Pixels along one side of a cell of the map."""
        return CELL

    @property
    def least_side(self) -> int:
        """The minimum height and width of an input, in pixels: one patch of the last map."""
        strides_after_the_first_map = 4
        return CELL * self.patch_size * strides_after_the_first_map

    def build(self) -> "MobileViTV2":
        """Build this model with newly initialized weights."""
        return MobileViTV2(self)


class SeparableAttention(nn.Module):
    """One softmax over all tokens gives one context vector, which multiplies every value.

    It is recorded as attention with identical rows.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.qkv_proj = nn.Conv2d(width, 1 + 2 * width, 1)
        self.out_proj = nn.Conv2d(width, width, 1)

    def forward(
        self,
        tokens: Float[Tensor, "b d p n"],
        index: Int[Tensor, "p n"],
        count: int,
        trace: Trace | None = None,
    ) -> Float[Tensor, "b d p n"]:
        score, key, value = self.qkv_proj(tokens).split([1, self.width, self.width], dim=1)
        mixed = (key * score.softmax(dim=-1)).sum(dim=-1, keepdim=True).expand_as(value)
        if trace is not None:
            heads = "b d p n -> (b p) 1 n d"
            mixed = rearrange(mixed, heads)
            trace.record(
                Attention(
                    query=rearrange(torch.ones_like(score), heads),
                    key=rearrange(score, heads),
                    value=rearrange(key, heads),
                    attn_output=mixed,
                    index=index,
                    tokens=count,
                    scale=1.0,
                )
            )
            mixed = rearrange(mixed, "(b p) 1 n d -> b d p n", p=value.shape[2])
        return self.out_proj(value.relu() * mixed)


class ConvMlp(nn.Module):
    """Two linear layers with SiLU between, applied to every token separately."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, width, 1)

    def forward(self, tokens: Float[Tensor, "b d p n"]) -> Float[Tensor, "b d p n"]:
        return self.fc2(functional.silu(self.fc1(tokens)))


class SeparableBlock(nn.Module):
    """z' = attention(norm(z)) + z, then z = MLP(norm(z')) + z'; each norm is over all tokens."""

    def __init__(self, config: MobileViTV2Config, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(1, width, eps=config.layer_norm_eps)
        self.attn = SeparableAttention(width)
        self.norm2 = nn.GroupNorm(1, width, eps=config.layer_norm_eps)
        self.mlp = ConvMlp(width, hidden)

    def forward(
        self,
        tokens: Float[Tensor, "b d p n"],
        index: Int[Tensor, "p n"],
        count: int,
        trace: Trace | None = None,
    ) -> Float[Tensor, "b d p n"]:
        tokens = tokens + self.attn(self.norm1(tokens), index, count, trace)
        return tokens + self.mlp(self.norm2(tokens))


class MobileViTV2Block(nn.Module):
    """Convolution, unfolding into patches, attention, and folding; no residual connection."""

    def __init__(self, config: MobileViTV2Config, stage: int) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.enlarges = config.convention == "timm"
        attending = stage - len(BLOCKS)
        channels, width = config.channels_of_stages[stage], config.widths[attending]
        self.conv_kxk = ConvNorm(channels, channels, KERNEL, groups=channels)
        self.conv_1x1 = nn.Conv2d(channels, width, 1, bias=False)
        self.transformer = nn.ModuleList(
            SeparableBlock(config, width, config.mlp_widths[attending])
            for _ in range(config.depths[attending])
        )
        self.norm = nn.GroupNorm(1, width, eps=config.layer_norm_eps)
        self.conv_proj = ConvNorm(width, channels, linear=True)

    def forward(
        self, features: Float[Tensor, "b c h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b c rows cols"]:
        side = self.patch_size
        grid = (features.shape[2], features.shape[3])
        if trace is not None and trace.grid is None:
            trace.begin(grid)
        if self.enlarges:
            grid = (grid[0] + -grid[0] % side, grid[1] + -grid[1] % side)
            features = resized(features, grid, trace, corners=True)
        local = self.conv_1x1(self.conv_kxk(features))
        rows, cols = (length // side for length in grid)
        inside = local[:, :, : rows * side, : cols * side]
        pattern = "(rows p) (cols q) -> (p q) (rows cols)"
        places = torch.arange(grid[0] * grid[1], device=features.device).reshape(grid)
        index = rearrange(places[: rows * side, : cols * side], pattern, p=side, q=side)
        before, after = pattern.split(" -> ")
        tokens = rearrange(inside, f"b d {before} -> b d {after}", p=side, q=side)
        for block in self.transformer:
            tokens = block(tokens, index, grid[0] * grid[1], trace)
        sizes = {"rows": rows, "p": side, "q": side}
        folded = rearrange(self.norm(tokens), f"b d {after} -> b d {before}", **sizes)
        margin = (0, grid[1] - cols * side, 0, grid[0] - rows * side)
        return self.conv_proj(functional.pad(folded, margin))


class MobileViTV2(Classifier[MobileViTV2Config]):
    """Pixels to logits. An empty `Trace` records the pass; the logits stay bit-identical.

    The map has the grid of the first attention. The trace records a strided convolution as a mean
    over its inputs, and other convolutions as the identity, so the map is an approximation.
    """

    unreadable_layers = (
        "between its attention layers and its head lie convolutions, so no layer fits the head"
    )

    def __init__(self, config: MobileViTV2Config) -> None:
        super().__init__()
        self.config = config
        self.stem = ConvNorm(config.channels, config.stem, KERNEL, stride=2)
        self.stages = nn.ModuleList(Stage(_blocks(config, stage)) for stage in range(STAGES))
        self.head = MeanHead(config.channels_of_stages[-1], config.classes)
        initialise(self)

    def forward(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        if min(pixels.shape[-2:]) < self.config.least_side:
            raise ConfigError(
                f"A picture of {pixels.shape[-1]} × {pixels.shape[-2]} pixels is too small; give "
                f"one of at least {self.config.least_side} × {self.config.least_side}."
            )
        features = self.stem(pixels)
        for stage in self.stages:
            features = stage(features, trace)
        places = rearrange(features, "b c rows cols -> b (rows cols) c")
        if trace is not None:
            count = places.shape[1]
            trace.record(token_sharing(range(count), count, pixels.device))
        return self.head(places)

    @classmethod
    def no_linear_read_out(cls, config: MobileViTV2Config | None = None) -> str | None:
        del config
        return MERGED_TOKENS


def _blocks(config: MobileViTV2Config, stage: int) -> list[nn.Module]:
    """Inverted residuals; in each of the last three stages one, and a MobileViT V2 block."""
    before = (config.stem, *config.channels_of_stages)[stage]
    channels = config.channels_of_stages[stage]
    attends = stage >= len(BLOCKS)
    blocks: list[nn.Module] = []
    for number in range(1 if attends else BLOCKS[stage]):
        stride = 2 if stage and not number else 1
        source = channels if number else before
        hidden = round_to_eight(config.expansion * source)
        blocks.append(InvertedResidual(source, hidden, channels, stride))
    if attends:
        blocks.append(MobileViTV2Block(config, stage))
    return blocks
