"""The Vision Transformer: pixels → patches → tokens → encoder → read-out → logits.

Written after Dosovitskiy et al., "An Image is Worth 16x16 Words" (arXiv 2010.11929), section 3.1;
the numbers in brackets are the paper's equations. The distillation token is DeiT's
(arXiv 2012.12877). Parameter names are timm's, so that weights move between the libraries.

    b   batch            h, w         pixels down, across
    n   tokens: class token, distillation token if there is one, then the patches row by row
    d   token width      rows, cols   the patch grid
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from vit_demo.errors import ConfigError
from vit_demo.flow import Trace, prefix_sharing, token_sharing
from vit_demo.models.layers import DropPath, Gelu, LayerScale, Mlp, PatchEmbedding, SelfAttention


@dataclass(frozen=True)
class ViTConfig:
    """The shape of one Vision Transformer. Contradictions are refused when it is made.

    Sizes are (height, width) in pixels. `head_width` is the width of one attention head; left
    out, the heads share the token width. `representation` is the width of the tanh layer before
    the head ("pre-logits"), which the paper keeps for pre-training. `layer_scale` is its initial
    value, or None for a model without. With `distilled` a second token with its own head learns
    from a teacher, and the logits are the mean of both heads.
    """

    classes: int
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    patch_size: int = 16
    image_size: tuple[int, int] = (224, 224)
    channels: int = 3
    head_width: int | None = None
    qkv_bias: bool = True
    gelu: Gelu = "exact"
    layer_norm_eps: float = 1e-6
    representation: int | None = None
    distilled: bool = False
    layer_scale: float | None = None
    dropout: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        for name in ("classes", "width", "depth", "heads", "mlp_width", "patch_size", "channels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}, but it must be 1 or more.")
        for side in self.image_size:
            if side < self.patch_size or side % self.patch_size:
                low = max(side - side % self.patch_size, self.patch_size)
                raise ConfigError(
                    f"An image side of {side} pixels is not a whole number of "
                    f"{self.patch_size}-pixel patches; try {low} or {low + self.patch_size}."
                )
        if self.head_width is None and self.width % self.heads:
            raise ConfigError(
                f"A width of {self.width} cannot be shared evenly by {self.heads} heads; "
                "choose a multiple, or state head_width."
            )
        for name in ("dropout", "attention_dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}, but it must lie in [0, 1).")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches at the configured image size."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def cell(self) -> int:
        """Pixels along one side of a cell of the map."""
        return self.patch_size

    @property
    def prefix(self) -> int:
        """Learned tokens that stand before the patches."""
        return 2 if self.distilled else 1

    @property
    def features(self) -> int:
        """Width of what the head reads."""
        return self.representation or self.width


# Tables 1 and 6 of the paper for B, L and H; DeiT's table 1 for Ti and S.
PRESETS = {
    "ti16": ViTConfig(1000, width=192, heads=3, mlp_width=768),
    "s16": ViTConfig(1000, width=384, heads=6, mlp_width=1536),
    "b16": ViTConfig(1000),
    "b32": ViTConfig(1000, patch_size=32),
    "l16": ViTConfig(1000, width=1024, depth=24, heads=16, mlp_width=4096),
    "h14": ViTConfig(1000, width=1280, depth=32, heads=16, mlp_width=5120, patch_size=14),
}


def preset(name: str, **changes: Any) -> ViTConfig:
    """One of the published sizes, with changes: `preset("s16", classes=5, drop_path=0.1)`.

    Raises ConfigError when there is no such size or the changes contradict it.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset '{name}'; choose one of: {', '.join(PRESETS)}.")
    return replace(PRESETS[name], **changes)


class Block(nn.Module):
    """One encoder block: z' = MSA(LN(z)) + z, then z = MLP(LN(z')) + z'  [eqs. 2 and 3]."""

    def __init__(self, config: ViTConfig, drop_path: float) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.attn = SelfAttention(
            width,
            config.heads,
            config.head_width or width // config.heads,
            config.qkv_bias,
            config.attention_dropout,
            config.dropout,
        )
        self.norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = Mlp(width, config.mlp_width, config.gelu, config.dropout)
        scale = config.layer_scale
        self.ls1 = nn.Identity() if scale is None else LayerScale(width, scale)
        self.ls2 = nn.Identity() if scale is None else LayerScale(width, scale)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b n d"]:
        tokens = tokens + self.drop_path(self.ls1(self.attn(self.norm1(tokens), trace)))
        return tokens + self.drop_path(self.ls2(self.mlp(self.norm2(tokens))))


class Representation(nn.Module):
    """The paper's pre-logits: one linear layer and a tanh between encoder and head."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, features)

    def forward(self, token: Float[Tensor, "b d"]) -> Float[Tensor, "b features"]:
        return self.fc(token).tanh()


class VisionTransformer(nn.Module):
    """Pixels to logits. Hand in an empty `Trace` to watch a pass; the logits stay bit-identical."""

    # Whether the flows say exactly which tokens reach which.
    exact_flows = True

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        width, (rows, cols) = config.width, config.grid
        self.patch_embed = PatchEmbedding(config.patch_size, config.channels, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        if config.distilled:
            self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.prefix + rows * cols, width))
        self.pos_drop = nn.Dropout(config.dropout)
        rising = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(Block(config, rate) for rate in rising)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.pre_logits = (
            Representation(width, config.representation) if config.representation else nn.Identity()
        )
        self.head = nn.Linear(config.features, config.classes)
        if config.distilled:
            self.head_dist = nn.Linear(width, config.classes)
        self._initialise()

    def forward(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        tokens = self.embed(pixels, trace)
        for block in self.blocks:
            tokens = block(tokens, trace)
        return self.read_out(self.norm(tokens), trace)

    def embed(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b n d"]:
        """z₀ = [class; x₁E; …; xₙE] + positions  [eq. 1]. Any input of at least one patch."""
        patches = self.patch_embed(pixels)
        grid = (patches.shape[1], patches.shape[2])
        prefix = [self.cls_token, self.dist_token] if self.config.distilled else [self.cls_token]
        tokens = torch.cat(
            [
                *(repeat(token, "1 1 d -> b 1 d", b=pixels.shape[0]) for token in prefix),
                rearrange(patches, "b rows cols d -> b (rows cols) d"),
            ],
            dim=1,
        )
        positions = resample_positions(self.pos_embed, len(prefix), self.config.grid, grid)
        if trace is not None:
            trace.begin(grid)
            trace.flows.append(prefix_sharing(len(prefix), grid[0] * grid[1], pixels.device))
        return self.pos_drop(tokens + positions)

    def read_out(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """y = head(z of the class token)  [eq. 4]; with a teacher, the mean of both heads."""
        if trace is not None:
            read = range(self.config.prefix)
            trace.flows.append(token_sharing(read, tokens.shape[1], tokens.device))
        logits = self.head(self.pre_logits(tokens[:, 0]))
        return (logits + self.head_dist(tokens[:, 1])) / 2 if self.config.distilled else logits

    def freeze_backbone(self) -> None:
        """Leave only the head (and what stands between it and the encoder) to be trained."""
        self.requires_grad_(False)
        for part in self._head_parts():
            part.requires_grad_(True)

    def unfreeze(self) -> None:
        """Let every parameter be trained."""
        self.requires_grad_(True)

    def _head_parts(self) -> Iterator[nn.Module]:
        yield from (self.pre_logits, self.head)
        if self.config.distilled:
            yield self.head_dist

    def _initialise(self) -> None:
        """Truncated normals of width 0.02, the usual start of ViT training; zero biases."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for name in ("cls_token", "dist_token", "pos_embed"):
            if isinstance(token := getattr(self, name, None), nn.Parameter):
                nn.init.trunc_normal_(token, std=0.02)


def resample_positions(
    positions: Float[Tensor, "1 n d"],
    prefix: int,
    old: tuple[int, int],
    new: tuple[int, int],
    antialias: bool = False,
) -> Float[Tensor, "1 m d"]:
    """Bring learned positions from one patch grid to another, bicubically (section 3.2).

    The first `prefix` positions belong to tokens that stand nowhere, and stay as they are.
    Without `antialias` this is what transformers does on the fly.
    """
    if old == new:
        return positions
    rows, cols = old
    plane = rearrange(
        positions[:, prefix:], "1 (rows cols) d -> 1 d rows cols", rows=rows, cols=cols
    )
    plane = functional.interpolate(
        plane, size=new, mode="bicubic", align_corners=False, antialias=antialias
    )
    return torch.cat(
        [positions[:, :prefix], rearrange(plane, "1 d rows cols -> 1 (rows cols) d")], dim=1
    )
