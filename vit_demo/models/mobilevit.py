"""MobileViT: convolutions for local features, attention between distant patches, mean, logits.

Implemented after Mehta and Rastegari, "MobileViT: Light-weight, General-purpose, and
Mobile-friendly Vision Transformer" (arXiv 2110.02178), section 3 and table 4. Parameter names are
timm's.

    b   batch            rows, cols   height and width of a feature map
    c   its channels     p, q         row and column within one patch
    d   token width
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

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
from vit_demo.models.convolutions import KERNEL, ConvNorm, InvertedResidual, round_to_eight
from vit_demo.models.grids import Grid, resized, token_sharing
from vit_demo.models.layers import MeanHead, Mlp, SelfAttention, initialise
from vit_demo.trace import Trace

# Inverted residuals in each stage without attention; the number of stages; the pixels per place of
# the first map with attention.
CONVOLUTIONS = (1, 3)
STAGES = 5
CELL = 8
# Maps are enlarged to a whole number of patches, so a large patch size would exhaust memory.
LARGEST_PATCH = 32


@dataclass(frozen=True)
class MobileViTConfig(ModelConfig):
    """The configuration of a MobileViT; invalid combinations raise ConfigError.

    `channels_of_stages` are the channels of the five stages; each of the last three has a
    transformer with its entry of `widths` and `depths`. `expansion` is the expansion ratio of the
    inverted residuals. `patch_size` counts places of a feature map: attention connects the places
    at the same position in all patches. `features` is the width of the head's input.
    """

    classes: int
    stem: int = 16
    channels_of_stages: tuple[int, ...] = (32, 64, 96, 128, 160)
    widths: tuple[int, ...] = (144, 192, 240)
    depths: tuple[int, ...] = (2, 4, 3)
    features: int = 640
    expansion: float = 4.0
    heads: int = 4
    mlp_ratio: float = 2.0
    patch_size: int = 2
    image_size: tuple[int, int] = (256, 256)
    channels: int = 3
    qkv_bias: bool = True
    layer_norm_eps: float = 1e-5
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("classes", "stem", "features", "heads", "channels"):
            check_whole(name, getattr(self, name))
        for name in ("channels_of_stages", "widths", "depths"):
            check_wholes(name, getattr(self, name))
        check_flag("qkv_bias", self.qkv_bias)
        for name in ("expansion", "mlp_ratio"):
            check_number(name, getattr(self, name))
        for name in ("layer_norm_eps", "dropout"):
            check_share(name, getattr(self, name))
        check_whole("patch_size", self.patch_size, most=LARGEST_PATCH)
        check_wholes("image_size", self.image_size, count=2, most=LARGEST_SIDE)
        counts = [len(stages) for stages in (self.channels_of_stages, self.widths, self.depths)]
        if counts != [STAGES, STAGES - len(CONVOLUTIONS), STAGES - len(CONVOLUTIONS)]:
            raise ConfigError(
                f"channels_of_stages, widths and depths list {counts} stages; "
                "a MobileViT has five, the last three with a transformer."
            )
        if sum(self.depths) > DEEPEST:
            raise ConfigError(f"depths={self.depths}, but at most {DEEPEST} blocks are built.")
        for channels in (self.stem, *self.channels_of_stages):
            widened = round_to_eight(self.expansion * channels)
            check_whole("The width of an inverted residual", widened)
        for width in self.widths:
            check_whole("The width of the MLPs", int(width * self.mlp_ratio))
            if width % self.heads:
                raise ConfigError(
                    f"A width of {width} cannot be shared evenly by {self.heads} heads; "
                    "choose a multiple."
                )

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
        """The minimum height and width of an input, in pixels."""
        return 1

    def build(self) -> "MobileViT":
        """Build this model with newly initialized weights."""
        return MobileViT(self)


PRESETS = {
    "xxs": MobileViTConfig(
        1000,
        channels_of_stages=(16, 24, 48, 64, 80),
        widths=(64, 80, 96),
        features=320,
        expansion=2.0,
    ),
    "xs": MobileViTConfig(
        1000, channels_of_stages=(32, 48, 64, 80, 96), widths=(96, 120, 144), features=384
    ),
    "s": MobileViTConfig(1000),
}


def preset(name: str, **changes: Any) -> MobileViTConfig:
    """One of the published sizes, with changes: `preset("xs", classes=5)`.

    Raises ConfigError if there is no such size or the changes contradict it.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset '{name}'; choose one of: {', '.join(PRESETS)}.")
    return replace(PRESETS[name], **changes)


class TransformerBlock(nn.Module):
    """z' = MSA(LN(z)) + z, then z = MLP(LN(z')) + z', with SiLU in the MLP."""

    def __init__(self, config: MobileViTConfig, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.attn = SelfAttention(
            width, config.heads, width // config.heads, config.qkv_bias, 0.0, config.dropout
        )
        self.norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = Mlp(width, int(width * config.mlp_ratio), "silu", config.dropout)

    def forward(
        self,
        tokens: Float[Tensor, "b n d"],
        index: Int[Tensor, "groups n"],
        trace: Trace | None = None,
    ) -> Float[Tensor, "b n d"]:
        tokens = tokens + self.attn(self.norm1(tokens), trace, index)
        return tokens + self.mlp(self.norm2(tokens))


class MobileViTBlock(nn.Module):
    """Convolve, unfold into patches, attend, fold, and fuse with the input (section 3.1).

    Attention connects the places at the same position in all patches: with patches of 2 × 2, there
    are four separate groups. Maps that are not a whole number of patches are resized before and
    after.
    """

    def __init__(self, config: MobileViTConfig, channels: int, width: int, depth: int) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.conv_kxk = ConvNorm(channels, channels, KERNEL)
        self.conv_1x1 = nn.Conv2d(channels, width, 1, bias=False)
        self.transformer = nn.ModuleList(TransformerBlock(config, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.conv_proj = ConvNorm(width, channels)
        self.conv_fusion = ConvNorm(2 * channels, channels, KERNEL)

    def forward(
        self, features: Float[Tensor, "b c rows cols"], trace: Trace | None = None
    ) -> Float[Tensor, "b c rows cols"]:
        grid = (features.shape[2], features.shape[3])
        if trace is not None and trace.grid is None:
            trace.begin(grid)
        whole = (grid[0] + -grid[0] % self.patch_size, grid[1] + -grid[1] % self.patch_size)
        local = resized(self.conv_1x1(self.conv_kxk(features)), whole, trace)
        sizes = {"p": self.patch_size, "q": self.patch_size}
        index = rearrange(
            torch.arange(whole[0] * whole[1], device=features.device).reshape(whole),
            "(rows p) (cols q) -> (p q) (rows cols)",
            **sizes,
        )
        tokens = rearrange(local, "b d (rows p) (cols q) -> (b p q) (rows cols) d", **sizes)
        for block in self.transformer:
            tokens = block(tokens, index, trace)
        folded = rearrange(
            self.norm(tokens),
            "(b p q) (rows cols) d -> b d (rows p) (cols q)",
            rows=whole[0] // self.patch_size,
            **sizes,
        )
        far = self.conv_proj(resized(folded, grid, trace))
        return self.conv_fusion(torch.cat([features, far], dim=1))


class Stage(nn.ModuleList):
    """A sequence of blocks."""

    def forward(
        self, features: Float[Tensor, "b c h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b e rows cols"]:
        for block in self:
            features = block(features, trace)
        return features


class MobileViT(Classifier[MobileViTConfig]):
    """Pixels to logits. An empty `Trace` records the pass; the logits stay bit-identical.

    The map has the grid of the first attention. The trace records a strided convolution as a mean
    over its inputs, and other convolutions as the identity, so the map is an approximation.
    """

    unreadable_layers = (
        "between its attention layers and its head lie convolutions, so no layer fits the head"
    )

    def __init__(self, config: MobileViTConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = ConvNorm(config.channels, config.stem, KERNEL, stride=2)
        self.stages = nn.ModuleList(Stage(_blocks(config, stage)) for stage in range(STAGES))
        last = config.channels_of_stages[-1]
        self.final_conv = ConvNorm(last, config.features)
        self.head = MeanHead(config.features, config.classes)
        self._initialize()

    def forward(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        features = self.stem(pixels)
        for stage in self.stages:
            features = stage(features, trace)
        places = rearrange(self.final_conv(features), "b c rows cols -> b (rows cols) c")
        if trace is not None:
            count = places.shape[1]
            trace.record(token_sharing(range(count), count, pixels.device))
        return self.head(places)

    @classmethod
    def no_linear_read_out(cls, config: MobileViTConfig | None = None) -> str | None:
        del config
        return MERGED_TOKENS

    def _initialize(self) -> None:
        """Kaiming-initialized convolutions; linear layers with normal weights of std 0.02."""
        initialise(self)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")


def _blocks(config: MobileViTConfig, stage: int) -> list[nn.Module]:
    """Inverted residuals; in each of the last three stages one, and a MobileViT block."""
    before = (config.stem, *config.channels_of_stages)[stage]
    channels = config.channels_of_stages[stage]
    attention = stage - len(CONVOLUTIONS)
    count = CONVOLUTIONS[stage] if attention < 0 else 1
    blocks: list[nn.Module] = []
    for number in range(count):
        stride = 2 if stage and not number else 1
        source = channels if number else before
        blocks.append(
            InvertedResidual(source, round_to_eight(config.expansion * source), channels, stride)
        )
    if attention >= 0:
        width, depth = config.widths[attention], config.depths[attention]
        blocks.append(MobileViTBlock(config, channels, width, depth))
    return blocks
