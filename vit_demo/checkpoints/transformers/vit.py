"""ViT, DeiT and DINOv2 as the transformers library names and describes them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vit_demo.checkpoints.checkpoint import FLOATS
from vit_demo.checkpoints.naming import QKV, Rule, join_qkv, rename, square
from vit_demo.checkpoints.values import flag, number, shape_of, sides, whole
from vit_demo.checks import LARGEST_NUMBER
from vit_demo.errors import ConfigError, UnsupportedError
from vit_demo.models.layers import Gelu
from vit_demo.models.vit import ViTConfig

# Their names on the left, ours (timm's) on the right.
RULES: tuple[Rule, ...] = (
    (r"^(vit|deit|dinov2|dinov2_with_registers)\.", ""),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^encoder\.layer\.", "blocks."),
    (r"^layernorm\.", "norm."),
    (r"^(cls_)?classifier\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
    (r"^(blocks\.\d+)\.attention\.attention\.", r"\1.attn."),
    (r"^(blocks\.\d+)\.attention\.output\.dense\.", r"\1.attn.proj."),
    (r"^(blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"^(blocks\.\d+)\.mlp\.weights_in\.", r"\1.mlp.fc1."),
    (r"^(blocks\.\d+)\.mlp\.weights_out\.", r"\1.mlp.fc2."),
    (r"^(blocks\.\d+)\.layernorm_before\.", r"\1.norm1."),
    (r"^(blocks\.\d+)\.layernorm_after\.", r"\1.norm2."),
    (r"^(blocks\.\d+)\.layer_scale([12])\.lambda1$", r"\1.ls\2.gamma"),
)

# The way back, for a plain ViT; everything but the head stands under `vit.`.
RULES_BACK: tuple[Rule, ...] = (
    (r"^head\.", "classifier."),
    (r"^patch_embed\.proj\.", "vit.embeddings.patch_embeddings.projection."),
    (r"^pos_embed$", "vit.embeddings.position_embeddings"),
    (r"^cls_token$", "vit.embeddings.cls_token"),
    (r"^norm\.", "vit.layernorm."),
    (r"^blocks\.", "vit.encoder.layer."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.", ".attention.attention."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
)

# In the file, but no part of a classifier: a pre-training token, and a pooler that it never reads.
IGNORED = r"^(\w+\.)?(embeddings\.mask_token|pooler\.dense\.(weight|bias))$"

GELUS: dict[str, Gelu] = {
    "gelu": "exact",
    "gelu_new": "tanh",
    "gelu_fast": "tanh",
    "gelu_pytorch_tanh": "tanh",
}

# transformers' default, 1e-12, is written by hand into every ViTConfig of the library.
LAYER_NORM_EPS = {"vit": 1e-12, "deit": 1e-12, "dinov2": 1e-6, "dinov2_with_registers": 1e-6}


# What ViTForImageClassification has no word for.
SPECIAL = (
    "head_width",
    "representation",
    "distilled",
    "layer_scale",
    "class_token",
    "registers",
    "prefix_positions",
    "pre_norm",
    "qk_norm",
    "swiglu",
    "patch_norm",
    "proj_bias",
    "rms_norm",
    "pooling",
    "final_norm",
)


def read_gelu(config_json: Mapping[str, Any], source: str) -> Gelu:
    """The activation that a config.json names; UnsupportedError for one that is not read."""
    activation = config_json.get("hidden_act", "gelu")
    if not isinstance(activation, str) or activation not in GELUS:
        raise UnsupportedError(
            f"{source} uses the activation '{activation}'; readable: {', '.join(GELUS)}."
        )
    return GELUS[activation]


def read_config(
    config_json: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    family: str,
    classes: int,
    source: str,
) -> ViTConfig:
    """The shape that a config.json describes; what it leaves out is the library's default.

    `tensors` bear our names; they tell a DeiT with two heads from one whose distillation token
    nobody reads any more.
    """
    config = ViTConfig(
        classes=classes,
        width=whole(config_json, "hidden_size", 768),
        depth=whole(config_json, "num_hidden_layers", 12),
        heads=whole(config_json, "num_attention_heads", 12),
        mlp_width=whole(config_json, "intermediate_size", 3072),
        patch_size=square(config_json.get("patch_size", 16), source),
        image_size=sides(config_json, "image_size", 224),
        channels=whole(config_json, "num_channels", 3),
        qkv_bias=flag(config_json, "qkv_bias", True),
        gelu=read_gelu(config_json, source),
        layer_norm_eps=number(
            config_json, "layer_norm_eps", LAYER_NORM_EPS[family], least=0.0, most=1.0
        ),
    )
    if family == "deit":
        distilled = "dist_token" in tensors
        return replace(config, distilled=distilled, registers=0 if distilled else 1)
    if family.startswith("dinov2"):
        return _dinov2(config, config_json, family)
    return config


def _dinov2(config: ViTConfig, config_json: Mapping[str, Any], family: str) -> ViTConfig:
    """What DINOv2 does otherwise: wider heads, layer scale, SwiGLU, registers."""
    mlp_width = int(config.width * number(config_json, "mlp_ratio", 4.0))
    swiglu = flag(config_json, "use_swiglu_ffn", False)
    if swiglu:  # two thirds, rounded up to a multiple of eight
        mlp_width = (int(mlp_width * 2 / 3) + 7) // 8 * 8
    registers = family == "dinov2_with_registers"
    return replace(
        config,
        mlp_width=mlp_width,
        swiglu=swiglu,
        layer_scale=number(config_json, "layerscale_value", 1.0, least=-LARGEST_NUMBER),
        registers=whole(config_json, "num_register_tokens", 4, least=0) if registers else 0,
        prefix_positions=not registers,
        antialias=registers,
        pooling="class and mean",
    )


def size_name(config: ViTConfig) -> str:
    """'S/16' for the published widths, else the width itself."""
    letters = {192: "Ti", 384: "S", 768: "B", 1024: "L", 1280: "H"}
    return f"{letters.get(config.width, f'width {config.width}')}/{config.patch_size}"


def to_timm_names(tensors: Mapping[str, Tensor], family: str) -> dict[str, Tensor]:
    """The file's tensors under our names, query, key and value in one."""
    named = join_qkv(rename(tensors, RULES, IGNORED))
    if family == "deit" and "head_dist.weight" not in named and "dist_token" in named:
        # A distillation token that no head reads is a register.
        named["reg_token"] = named.pop("dist_token")
    if family == "dinov2_with_registers" and {"cls_token", "pos_embed"} <= named.keys():
        # Registers have no position; the class token's is a constant, and moves into the token.
        placed, token = shape_of(named, "pos_embed", 3), shape_of(named, "cls_token", 3)
        kinds = {named["pos_embed"].dtype, named["cls_token"].dtype}
        if not kinds <= FLOATS or token != (1, 1, placed[2]):
            raise ConfigError(
                f"the tensors cls_token and pos_embed have the shapes {token} and {placed}, but "
                "they must hold one token, and positions of its width, in floating point."
            )
        own, patches = named["pos_embed"].float().tensor_split([1], dim=1)
        named["cls_token"] = named["cls_token"].float() + own
        named["pos_embed"] = patches
    return named


def to_transformers_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a plain ViT under the library's names, query, key and value apart."""
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        stem, found, kind = name.partition(".attn.qkv.")
        if found:
            pieces = zip(QKV, tensor.chunk(len(QKV)), strict=True)
            apart |= {f"{stem}.attn.{part}.{kind}": piece for part, piece in pieces}
        else:
            apart[name] = tensor
    return rename(apart, RULES_BACK, ignored=r"$^")


def check_plain(config: ViTConfig) -> None:
    """Raise UnsupportedError unless `ViTForImageClassification` can say all of it."""
    plain = ViTConfig(config.classes, image_size=config.image_size, patch_size=config.patch_size)
    special = [name for name in SPECIAL if getattr(config, name) != getattr(plain, name)]
    if special or config.gelu == "quick":
        raise UnsupportedError(
            "The transformers ViT layout has no layer scale, distillation token, pre-logits or "
            f"other special parts ({', '.join(special or ['gelu'])}); "
            "fold or drop them before saving."
        )


def config_json_of(
    config: ViTConfig, labels: tuple[str, ...], dtype: torch.dtype
) -> dict[str, Any]:
    """The config.json of a plain ViT; raises UnsupportedError for what the layout cannot say."""
    check_plain(config)
    return {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "dtype": str(dtype).removeprefix("torch."),
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": config.mlp_width,
        "hidden_act": "gelu" if config.gelu == "exact" else "gelu_pytorch_tanh",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": config.layer_norm_eps,
        "image_size": config.image_size[0]
        if config.image_size[0] == config.image_size[1]
        else list(config.image_size),
        "patch_size": config.patch_size,
        "num_channels": config.channels,
        "qkv_bias": config.qkv_bias,
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }
