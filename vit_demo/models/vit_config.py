"""The shape of a Vision Transformer, and the sizes that have been published."""

from dataclasses import dataclass, replace
from typing import Any, Literal

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
from vit_demo.models.layers import Gelu

Pooling = Literal["class", "mean", "class and mean", "attention"]
FinalNorm = Literal["tokens", "pooled", "none"]

COUNTS = ("classes", "width", "depth", "heads", "mlp_width", "channels")
FLAGS = (
    *("qkv_bias", "distilled", "class_token", "prefix_positions", "antialias", "pre_norm"),
    *("qk_norm", "swiglu", "patch_norm", "proj_bias", "rms_norm"),
)
RATES = ("dropout", "attention_dropout", "drop_path", "patch_dropout")


@dataclass(frozen=True)
class ViTConfig:
    """The shape of one Vision Transformer. Contradictions are refused when it is made.

    Sizes are (height, width) in pixels; `image_size` is the one that positions are learned for,
    and `antialias` says how they are brought to another: transformers does it without, timm with.

    Tokens stand in this order: the class token, unless `class_token` is False; the distillation
    token of a `distilled` model, whose own head learns from a teacher, and the logits are the
    mean of both heads; `registers`, which nobody reads (arXiv 2309.16588); the patches.
    `prefix_positions` is False where only patches have a learned position.

    `head_width` is the width of one attention head; left out, the heads share the token width.
    `qk_norm` normalises query and key (arXiv 2302.05442). `swiglu` gates the MLP, with SiLU
    instead of `gelu` (arXiv 2002.05202); its `mlp_width` counts what comes out of the gate.
    `layer_scale` is its initial value, or None for a model without. `pre_norm` is CLIP's: a norm
    before the first block, and patches without bias (arXiv 2103.00020). AIMv2 (arXiv 2411.14402)
    has a norm on its patches, `patch_norm`, leaves out the biases after attention and in the MLP,
    `proj_bias`, and has RMS norms everywhere, `rms_norm` (arXiv 1910.07467).

    `pooling` says what the head reads: the class token, the mean of the patches, DINOv2's both
    side by side, or SigLIP's attention of a learned query to the patches; `final_norm` whether the
    last norm stands before pooling, after it, or nowhere.
    `patch_dropout` is the share of the patches that are left out while training
    (arXiv 2208.07220).
    `representation` is the width of the tanh layer before the head ("pre-logits"), which the
    paper keeps for pre-training.
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
        if self.rms_norm and self.qk_norm:
            raise ConfigError("rms_norm and qk_norm do not go together; choose one of them.")
        if self.pooling == "attention" and self.width % self.heads:
            raise ConfigError(
                f"Attention pooling shares a width of {self.width} among {self.heads} heads, which "
                "is not even; choose a multiple."
            )

    def _check_kinds(self) -> None:
        """Raise ConfigError for a value of the wrong kind, or outside its own range."""
        for name in COUNTS:
            check_whole(name, getattr(self, name))
        for name in FLAGS:
            check_flag(name, getattr(self, name))
        for name in ("layer_norm_eps", *RATES):
            check_share(name, getattr(self, name))
        for name in ("head_width", "representation"):
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
        """Pixels that an input must have along each side."""
        return self.patch_size

    @property
    def prefix_tokens(self) -> dict[str, int]:
        """Names and numbers of the learned tokens that stand before the patches, in order."""
        counts = {
            "cls_token": int(self.class_token),
            "dist_token": int(self.distilled),
            "reg_token": self.registers,
        }
        return {name: count for name, count in counts.items() if count}

    @property
    def prefix(self) -> int:
        """How many they are."""
        return sum(self.prefix_tokens.values())

    @property
    def placed_prefix(self) -> int:
        """How many of them have a learned position."""
        return self.prefix if self.prefix_positions else 0

    @property
    def features(self) -> int:
        """Width of what the head reads."""
        return self.representation or self.pooled_width

    @property
    def pooled_width(self) -> int:
        """Width of what pooling leaves."""
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

    Raises ConfigError when there is no such size or the changes contradict it.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset '{name}'; choose one of: {', '.join(PRESETS)}.")
    return replace(PRESETS[name], **changes)
