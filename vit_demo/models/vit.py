"""The Vision Transformer: pixels → patches → tokens → encoder → read-out → logits.

Implemented after Dosovitskiy et al., "An Image is Worth 16x16 Words" (arXiv 2010.11929), section
3.1; the numbers in brackets are the paper's equations. The distillation token is DeiT's (arXiv
2012.12877), the head that reads class token and mean is DINOv2's (arXiv 2304.07193). Parameter
names are timm's, so that weights can be exchanged between the libraries.

    b   batch            h, w         image height and width in pixels
    n   tokens: class token, distillation token and registers, if there are any, then the
        patches row by row
    d   token width      rows, cols   the patch grid
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from vit_demo.checks import (
    DEEPEST,
    LARGEST_NUMBER,
    LARGEST_SIDE,
    check_flag,
    check_number,
    check_share,
    check_whole,
    check_wholes,
)
from vit_demo.errors import ConfigError
from vit_demo.models.base import Classifier, ModelConfig
from vit_demo.models.grids import prefix_sharing, token_sharing
from vit_demo.models.layers import (
    AttentionPool,
    DropPath,
    Gelu,
    LayerScale,
    Mlp,
    PatchDropout,
    PatchEmbedding,
    Positions,
    Representation,
    SelfAttention,
    SwiGlu,
    graph_of_first,
    initialise,
)
from vit_demo.trace import Trace

Pooling = Literal["class", "mean", "class and mean", "attention"]
FinalNorm = Literal["tokens", "pooled", "none"]

COUNTS = ("classes", "width", "depth", "heads", "mlp_width", "channels")
FLAGS = (
    *("qkv_bias", "distilled", "class_token", "prefix_positions", "antialias", "pre_norm"),
    *("qk_norm", "swiglu", "patch_norm", "proj_bias", "rms_norm", "post_norm", "positions"),
    *("attn_norm", "mlp_norm", "mlp_layer_scale", "pool_prefix"),
)
RATES = ("dropout", "attention_dropout", "drop_path", "patch_dropout")


@dataclass(frozen=True)
class ViTConfig(ModelConfig):
    """The configuration of a Vision Transformer; invalid combinations raise ConfigError.

    Sizes are (height, width) in pixels. Positions are learned for `image_size`; for other sizes
    they are resampled, with `antialias` as in timm or without as in transformers.

    The order of the tokens is: the class token, unless `class_token` is False; the distillation
    token of a `distilled` model, which has its own head, and the logits are the mean of both heads;
    `registers`, which the head does not read (arXiv 2309.16588); the patches. `prefix_positions` is
    False if only patches have a learned position.

    `head_width` is the width of one attention head; by default, the heads divide the token width.
    `qk_norm` normalizes query and key (arXiv 2302.05442). `swiglu` gates the MLP, with SiLU instead
    of `gelu` (arXiv 2002.05202); its `mlp_width` is the width after the gate. `layer_scale` is its
    initial value, or None for a model without. `pre_norm` is CLIP's norm before the first block,
    which comes with a patch embedding without bias (arXiv 2103.00020). AIMv2 (arXiv 2411.14402) has
    a norm on its patches, `patch_norm`; no bias after attention and in the MLP, `proj_bias` =
    False; and RMS norms everywhere, `rms_norm` (arXiv 1910.07467). `post_norm` puts the norms of a
    block after its attention and its MLP, as in Swin V2 (arXiv 2111.09883). `positions` says
    whether positions are added to the patches. `attn_norm` and `mlp_norm` are inner norms: after
    attention, and before the last layer of the MLP (arXiv 2210.06423). Without `mlp_layer_scale`
    only attention has a layer scale.

    `pooling` is the input of the head: the class token, the mean of the patches, DINOv2's
    concatenation of both, or SigLIP's attention of a learned query to the patches, or to all tokens
    with `pool_prefix`; its `pool_heads` and `pool_mlp_width` are by default those of the blocks.
    `final_norm` says whether the last norm is before pooling, after it, or absent. `patch_dropout`
    is the share of patches that are dropped in training (arXiv 2208.07220). `representation` is the
    width of the tanh layer before the head ("pre-logits"), which the paper uses in pre-training.
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
    class_token: bool = True
    registers: int = 0
    prefix_positions: bool = True
    antialias: bool = False
    pre_norm: bool = False
    qk_norm: bool = False
    swiglu: bool = False
    patch_norm: bool = False
    proj_bias: bool = True
    rms_norm: bool = False
    post_norm: bool = False
    positions: bool = True
    attn_norm: bool = False
    mlp_norm: bool = False
    mlp_layer_scale: bool = True
    pool_prefix: bool = False
    pool_heads: int | None = None
    pool_mlp_width: int | None = None
    pooling: Pooling = "class"
    final_norm: FinalNorm = "tokens"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.0
    patch_dropout: float = 0.0

    def __post_init__(self) -> None:
        self._check_kinds()
        if self.depth > DEEPEST:
            raise ConfigError(f"depth={self.depth}, but at most {DEEPEST} blocks are built.")
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
        if not self.class_token and (self.distilled or self.pooling in ("class", "class and mean")):
            raise ConfigError(
                "Without a class token there is none to read or to distil beside; "
                'keep it, or choose pooling="mean" and distilled=False.'
            )
        if self.distilled and (self.pooling != "class" or self.final_norm == "pooled"):
            raise ConfigError(
                "A distilled model reads its two tokens; "
                'choose pooling="class" and final_norm="tokens".'
            )
        pool_heads = self.pool_heads or self.heads
        if self.pooling == "attention" and self.width % pool_heads:
            raise ConfigError(
                f"Attention pooling shares a width of {self.width} among {pool_heads} heads, which "
                "is not even; choose a multiple."
            )

    def _check_kinds(self) -> None:
        """Raise ConfigError for a value of the wrong type or outside its range."""
        for name in COUNTS:
            check_whole(name, getattr(self, name))
        for name in FLAGS:
            check_flag(name, getattr(self, name))
        for name in ("layer_norm_eps", *RATES):
            check_share(name, getattr(self, name))
        for name in ("head_width", "representation", "pool_heads", "pool_mlp_width"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))
        if isinstance(self.registers, int) and self.registers < 0:
            raise ConfigError(f"registers={self.registers}, but it must be 0 or more.")
        check_whole("registers", self.registers, least=0)
        if self.layer_scale is not None:
            check_number("layer_scale", self.layer_scale, -LARGEST_NUMBER)
        check_whole("patch_size", self.patch_size, most=LARGEST_SIDE)
        check_wholes("image_size", self.image_size, count=2, most=LARGEST_SIDE)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches at the configured image size."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def cell(self) -> int:
        """Pixels along one side of a cell of the map."""
        return self.patch_size

    @property
    def least_side(self) -> int:
        """The minimum height and width of an input, in pixels."""
        return self.patch_size

    def build(self) -> "VisionTransformer":
        """Build this model with newly initialized weights."""
        return VisionTransformer(self)

    @property
    def prefix_tokens(self) -> dict[str, int]:
        """Names and counts of the learned tokens before the patches, in order."""
        counts = {
            "cls_token": int(self.class_token),
            "dist_token": int(self.distilled),
            "reg_token": self.registers,
        }
        return {name: count for name, count in counts.items() if count}

    @property
    def prefix(self) -> int:
        """The number of prefix tokens."""
        return sum(self.prefix_tokens.values())

    @property
    def placed_prefix(self) -> int:
        """The number of prefix tokens with a learned position."""
        return self.prefix if self.prefix_positions else 0

    @property
    def features(self) -> int:
        """Width of the head's input."""
        return self.representation or self.pooled_width

    @property
    def pooled_width(self) -> int:
        """Width after pooling."""
        return 2 * self.width if self.pooling == "class and mean" else self.width


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

    Raises ConfigError if there is no such size or the changes contradict it.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset '{name}'; choose one of: {', '.join(PRESETS)}.")
    return replace(PRESETS[name], **changes)


def resample_positions(
    positions: Float[Tensor, "1 n d"],
    prefix: int,
    old: tuple[int, int],
    new: tuple[int, int],
    antialias: bool = False,
) -> Float[Tensor, "1 m d"]:
    """Resample learned positions from one patch grid to another, bicubically (section 3.2).

    The first `prefix` positions belong to prefix tokens and stay unchanged. `antialias` is timm's
    resampling; without it, this is transformers'.
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


class Block(nn.Module):
    """One encoder block: z' = MSA(LN(z)) + z, then z = MLP(LN(z')) + z'  [eqs. 2 and 3].

    With `post_norm`, z' = LN(MSA(z)) + z, then z = LN(MLP(z')) + z'.
    """

    def __init__(self, config: ViTConfig, drop_path: float) -> None:
        super().__init__()
        width = config.width
        head_width = config.head_width or width // config.heads
        self.post_norm = config.post_norm
        self.norm1 = _norm(width, config)
        self.attn = SelfAttention(
            width,
            config.heads,
            head_width,
            config.qkv_bias,
            config.attention_dropout,
            config.dropout,
            qk_norm_eps=config.layer_norm_eps if config.qk_norm else None,
            proj_bias=config.proj_bias,
            rms_norm=config.rms_norm,
            norm=_norm(config.heads * head_width, config, config.attn_norm),
        )
        self.norm2 = _norm(width, config)
        inner = _norm(config.mlp_width, config, config.mlp_norm)
        self.mlp = (
            SwiGlu(width, config.mlp_width, config.dropout, config.proj_bias, inner)
            if config.swiglu
            else Mlp(width, config.mlp_width, config.gelu, config.dropout, config.proj_bias, inner)
        )
        scale = config.layer_scale
        self.ls1 = nn.Identity() if scale is None else LayerScale(width, scale)
        self.ls2 = (
            LayerScale(width, scale)
            if scale is not None and config.mlp_layer_scale
            else nn.Identity()
        )
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        tokens: Float[Tensor, "b n d"],
        trace: Trace | None = None,
        read: int | None = None,
        positions: Positions | None = None,
    ) -> Float[Tensor, "b n d"]:
        """With `read`, only the first `read` tokens, as the head needs, have a gradient graph."""
        if self.post_norm:
            attended = self.norm1(self.attn(tokens, trace, None, read, positions))
        else:
            attended = self.attn(self.norm1(tokens), trace, None, read, positions)
        tokens = tokens + self.drop_path(self.ls1(attended))
        return self.feed(tokens) if read is None else graph_of_first(self.feed, tokens, read)

    def feed(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """z = MLP(LN(z')) + z', each token separately."""
        fed = self.norm2(self.mlp(tokens)) if self.post_norm else self.mlp(self.norm2(tokens))
        return tokens + self.drop_path(self.ls2(fed))


class VisionTransformer(Classifier[ViTConfig]):
    """Pixels to logits. An empty `Trace` records the pass; the logits stay bit-identical."""

    exact_flows = True
    drops_tokens = True
    unreadable_layers = None

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
        if config.positions:
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
                config.pool_heads or config.heads,
                config.pool_mlp_width or config.mlp_width,
                config.gelu,
                _norm(width, config),
                0 if config.pool_prefix else config.prefix,
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
        self._initialize()

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
        positions = (
            resample_positions(
                self.pos_embed, config.placed_prefix, config.grid, grid, config.antialias
            )
            if config.positions
            else None
        )
        tokens = rearrange(patches, "b rows cols d -> b (rows cols) d")
        if positions is not None and not config.prefix_positions:
            tokens = tokens + positions
        prefix = [
            repeat(getattr(self, name), "1 count d -> b count d", b=len(pixels))
            for name in config.prefix_tokens
        ]
        tokens = torch.cat([*prefix, tokens], dim=1)
        if positions is not None and config.prefix_positions:
            tokens = tokens + positions
        if trace is not None:
            trace.begin(grid)
            trace.record(prefix_sharing(config.prefix, grid[0] * grid[1], pixels.device))
        return self.norm_pre(self.patch_drop(self.pos_drop(tokens)))

    def encode(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """Blocks and head, for all tokens from `embed` or some of them."""
        return self.read(self._run_blocks(tokens, trace), trace)

    def _run_blocks(
        self,
        tokens: Float[Tensor, "b n d"],
        trace: Trace | None,
        positions: Sequence[Positions] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Run all blocks in order; `positions` has one entry per block."""
        only_prefix = self.config.pooling == "class" and trace is not None and trace.gradients
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            read = self.config.prefix if only_prefix and number == last else None
            tokens = block(tokens, trace, read, positions[number] if positions else None)
            if trace is not None:
                trace.record_hidden_state(tokens)
        return tokens

    def read(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """Apply the head to the tokens after any block."""
        return self.read_out(self.norm(tokens), trace)

    def read_out(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """y = head(z of the class token) [eq. 4]; if distilled, the mean of both heads."""
        if trace is not None and self.config.pooling != "attention":
            shares = self._read_shares(tokens.shape[1])
            trace.record(token_sharing(shares, tokens.shape[1], tokens.device))
        logits = self.head(self.pre_logits(self.fc_norm(self.pool(tokens, trace))))
        return (logits + self.head_dist(tokens[:, 1])) / 2 if self.config.distilled else logits

    def pool(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b e"]:
        """Pool the tokens: class token, mean of the patches, both, or attention pooling."""
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
        """The tokens that the logits are read from, with the share of each."""
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

    def patch_positions(self) -> Float[Tensor, "n d"] | None:
        if not self.config.positions:
            return None
        return self.pos_embed[0, self.config.placed_prefix :].detach()

    def patch_kernel(self) -> Float[Tensor, "d channels p q"]:
        return self.patch_embed.proj.weight.detach()

    @classmethod
    def has_class_token(cls, config: ViTConfig) -> bool:
        return config.class_token

    @classmethod
    def no_linear_read_out(cls, config: ViTConfig | None = None) -> str | None:
        if config is not None and config.post_norm:
            return (
                "its norms stand behind attention and MLPs, so its logits are no sum over patches"
            )
        if config is not None and config.attn_norm:
            return "its attention has a norm inside, so its logits are no sum over patches"
        if config is not None and config.representation:
            return "its head has a tanh layer, so its logits are no sum over patches"
        if config is not None and config.pooling == "attention":
            return (
                "its head pools the tokens by attention and an MLP, so its logits are no sum over "
                "patches"
            )
        return None

    def freeze_backbone(self) -> None:
        """Make only the head trainable, with any layers between it and the encoder."""
        self.requires_grad_(False)
        for part in self._head_parts():
            part.requires_grad_(True)

    def unfreeze(self) -> None:
        """Make every parameter trainable."""
        self.requires_grad_(True)

    def _head_parts(self) -> Iterator[nn.Module]:
        yield from (self.attn_pool, self.fc_norm, self.pre_logits, self.head)
        if self.config.distilled:
            yield self.head_dist

    def _initialize(self) -> None:
        """Truncated normal weights with std 0.02, as usual for ViT training; zero biases."""
        initialise(self)
        for name, parameter in self.named_parameters():
            if name.endswith(("_token", "pos_embed", "latent")):
                nn.init.trunc_normal_(parameter, std=0.02)


def _norm(width: int, config: ViTConfig, wanted: bool = True) -> nn.Module:
    if not wanted:
        return nn.Identity()
    kind = nn.RMSNorm if config.rms_norm else nn.LayerNorm
    return kind(width, eps=config.layer_norm_eps)
