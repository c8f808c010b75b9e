"""The Vision Transformer: pixels → patches → tokens → encoder → read-out → logits.

Written after Dosovitskiy et al., "An Image is Worth 16x16 Words" (arXiv 2010.11929), section 3.1;
the numbers in brackets are the paper's equations. The distillation token is DeiT's
(arXiv 2012.12877), the head that reads class token and mean DINOv2's (arXiv 2304.07193).
Parameter names are timm's, so that weights move between the libraries.

    b   batch            h, w         pixels down, across
    n   tokens: class token, distillation token, registers, as far as there are any, then the
        patches row by row
    d   token width      rows, cols   the patch grid
"""

from collections.abc import Iterator

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from vit_demo.errors import ConfigError
from vit_demo.models.attention_pool import AttentionPool
from vit_demo.models.dropping import DropPath, PatchDropout
from vit_demo.models.grids import prefix_sharing, token_sharing
from vit_demo.models.layers import (
    LayerScale,
    Mlp,
    PatchEmbedding,
    Representation,
    SelfAttention,
    SwiGlu,
    graph_of_first,
    initialise,
)
from vit_demo.models.positions import resample_positions
from vit_demo.models.vit_config import PRESETS, ViTConfig, preset
from vit_demo.trace import Trace

__all__ = ["PRESETS", "ViTConfig", "VisionTransformer", "preset", "resample_positions"]


class Block(nn.Module):
    """One encoder block: z' = MSA(LN(z)) + z, then z = MLP(LN(z')) + z'  [eqs. 2 and 3]."""

    def __init__(self, config: ViTConfig, drop_path: float) -> None:
        super().__init__()
        width = config.width
        self.norm1 = _norm(width, config)
        self.attn = SelfAttention(
            width,
            config.heads,
            config.head_width or width // config.heads,
            config.qkv_bias,
            config.attention_dropout,
            config.dropout,
            qk_norm_eps=config.layer_norm_eps if config.qk_norm else None,
            proj_bias=config.proj_bias,
        )
        self.norm2 = _norm(width, config)
        self.mlp = (
            SwiGlu(width, config.mlp_width, config.dropout, config.proj_bias)
            if config.swiglu
            else Mlp(width, config.mlp_width, config.gelu, config.dropout, config.proj_bias)
        )
        scale = config.layer_scale
        self.ls1 = nn.Identity() if scale is None else LayerScale(width, scale)
        self.ls2 = nn.Identity() if scale is None else LayerScale(width, scale)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None, read: int | None = None
    ) -> Float[Tensor, "b n d"]:
        """With `read`, only so many tokens in front leave a graph: no other one is read later."""
        tokens = tokens + self.drop_path(self.ls1(self.attn(self.norm1(tokens), trace, read=read)))
        return self.feed(tokens) if read is None else graph_of_first(self.feed, tokens, read)

    def feed(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """z = MLP(LN(z')) + z', each token alone."""
        return tokens + self.drop_path(self.ls2(self.mlp(self.norm2(tokens))))


class VisionTransformer(nn.Module):
    """Pixels to logits. Hand in an empty `Trace` to watch a pass; the logits stay bit-identical."""

    # Whether the flows say exactly which tokens reach which.
    exact_flows = True

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        width, (rows, cols) = config.width, config.grid
        self.patch_embed = PatchEmbedding(
            config.patch_size,
            config.channels,
            width,
            bias=not config.pre_norm,
            norm=_norm(width, config, config.patch_norm),
        )
        for name, count in config.prefix_tokens.items():
            setattr(self, name, nn.Parameter(torch.zeros(1, count, width)))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.placed_prefix + rows * cols, width))
        self.pos_drop = nn.Dropout(config.dropout)
        self.patch_drop = PatchDropout(config.patch_dropout, config.prefix)
        self.norm_pre = _norm(width, config, config.pre_norm)
        rising = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(Block(config, rate) for rate in rising)
        self.norm = _norm(width, config, config.final_norm == "tokens")
        self.attn_pool = (
            AttentionPool(
                width,
                config.heads,
                config.mlp_width,
                config.gelu,
                _norm(width, config),
                config.prefix,
            )
            if config.pooling == "attention"
            else nn.Identity()
        )
        self.fc_norm = _norm(config.pooled_width, config, config.final_norm == "pooled")
        self.pre_logits = (
            Representation(config.pooled_width, config.representation)
            if config.representation
            else nn.Identity()
        )
        self.head = nn.Linear(config.features, config.classes)
        if config.distilled:
            self.head_dist = nn.Linear(width, config.classes)
        self._initialise()

    def forward(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        return self.encode(self.embed(pixels, trace), trace)

    def embed(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b n d"]:
        """z₀ = [class; x₁E; …; xₙE] + positions  [eq. 1]. Any input of at least one patch."""
        config = self.config
        if min(pixels.shape[-2:]) < config.patch_size:
            raise ConfigError(
                f"A picture of {pixels.shape[-1]} × {pixels.shape[-2]} pixels is smaller than one "
                f"patch of {config.patch_size} × {config.patch_size}; give a larger one."
            )
        patches = self.patch_embed(pixels)
        grid = (patches.shape[1], patches.shape[2])
        positions = resample_positions(
            self.pos_embed, config.placed_prefix, config.grid, grid, config.antialias
        )
        tokens = rearrange(patches, "b rows cols d -> b (rows cols) d")
        if not config.prefix_positions:
            tokens = tokens + positions
        prefix = [
            repeat(getattr(self, name), "1 count d -> b count d", b=len(pixels))
            for name in config.prefix_tokens
        ]
        tokens = torch.cat([*prefix, tokens], dim=1)
        if config.prefix_positions:
            tokens = tokens + positions
        if trace is not None:
            trace.begin(grid)
            trace.record(prefix_sharing(config.prefix, grid[0] * grid[1], pixels.device))
        return self.norm_pre(self.patch_drop(self.pos_drop(tokens)))

    def encode(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """Blocks and head, for the tokens that `embed` made or for some of them."""
        only_prefix = self.config.pooling == "class" and trace is not None and trace.gradients
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            read = self.config.prefix if only_prefix and number == last else None
            tokens = block(tokens, trace, read)
            if trace is not None:
                trace.record_hidden_state(tokens)
        return self.read(tokens, trace)

    def read(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """What the head makes of the tokens that a block left, the last one or any other."""
        return self.read_out(self.norm(tokens), trace)

    def read_out(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """y = head(z of the class token)  [eq. 4]; with a teacher, the mean of both heads."""
        if trace is not None and self.config.pooling != "attention":
            shares = self._read_shares(tokens.shape[1])
            trace.record(token_sharing(shares, tokens.shape[1], tokens.device))
        logits = self.head(self.pre_logits(self.fc_norm(self.pool(tokens, trace))))
        return (logits + self.head_dist(tokens[:, 1])) / 2 if self.config.distilled else logits

    def pool(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b e"]:
        """The class token, the mean of the patches, both side by side, or what attention reads."""
        patches = tokens[:, self.config.prefix :]
        match self.config.pooling:
            case "class":
                return tokens[:, 0]
            case "mean":
                return patches.mean(dim=1)
            case "class and mean":
                return torch.cat([tokens[:, 0], patches.mean(dim=1)], dim=1)
            case "attention":
                return self.attn_pool(tokens, trace)

    def _read_shares(self, tokens: int) -> dict[int, float]:
        """Which tokens the logits are read from, and how large a share each of them has."""
        patches = range(self.config.prefix, tokens)
        if self.config.distilled:
            return {0: 0.5, 1: 0.5}
        match self.config.pooling:
            case "class":
                return {0: 1.0}
            case "mean":
                return dict.fromkeys(patches, 1 / len(patches))
            case _:
                return {0: 0.5, **dict.fromkeys(patches, 0.5 / len(patches))}

    def freeze_backbone(self) -> None:
        """Leave only the head (and what stands between it and the encoder) to be trained."""
        self.requires_grad_(False)
        for part in self._head_parts():
            part.requires_grad_(True)

    def unfreeze(self) -> None:
        """Let every parameter be trained."""
        self.requires_grad_(True)

    def _head_parts(self) -> Iterator[nn.Module]:
        yield from (self.attn_pool, self.fc_norm, self.pre_logits, self.head)
        if self.config.distilled:
            yield self.head_dist

    def _initialise(self) -> None:
        """Truncated normals of width 0.02, the usual start of ViT training; zero biases."""
        initialise(self)
        for name, parameter in self.named_parameters():
            if name.endswith(("_token", "pos_embed", "latent")):
                nn.init.trunc_normal_(parameter, std=0.02)


def _norm(width: int, config: ViTConfig, wanted: bool = True) -> nn.Module:
    if not wanted:
        return nn.Identity()
    kind = nn.RMSNorm if config.rms_norm else nn.LayerNorm
    return kind(width, eps=config.layer_norm_eps)
