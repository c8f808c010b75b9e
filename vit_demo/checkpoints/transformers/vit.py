"""ViT and DINOv2 as the transformers library names and describes them."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vit_demo.checkpoints.naming import pair
from vit_demo.errors import UnsupportedError
from vit_demo.models.layers import Gelu
from vit_demo.models.vit import ViTConfig

# Ours (timm's) on the left, theirs on the right. Modules; `.weight` and `.bias` follow.
OUTER_NAMES = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
    "head": "classifier",
}
BLOCK_NAMES = {
    "vit": {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    },
    "dinov2": {
        "norm1": "norm1",
        "norm2": "norm2",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
    },
}
QKV = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))

# In the file, but no part of a classifier: a pre-training token, and a pooler that it never reads.
IGNORED = re.compile(r"embeddings\.mask_token|pooler\.dense\.(weight|bias)")

GELUS: dict[str, Gelu] = {
    "gelu": "exact",
    "gelu_new": "tanh",
    "gelu_fast": "tanh",
    "gelu_pytorch_tanh": "tanh",
}

# transformers' default, 1e-12, is written by hand into every ViTConfig of the library.
LAYER_NORM_EPS = {"vit": 1e-12, "dinov2": 1e-6}


def vit_config(config_json: Mapping[str, Any], family: str, classes: int, source: str) -> ViTConfig:
    """The shape that a config.json describes; what it leaves out is the library's default."""
    activation = config_json.get("hidden_act", "gelu")
    if activation not in GELUS:
        raise UnsupportedError(
            f"{source} uses the activation '{activation}'; readable: {', '.join(GELUS)}."
        )
    if config_json.get("use_swiglu_ffn"):
        raise UnsupportedError(f"{source} uses SwiGLU layers, which are not read yet.")
    width = config_json.get("hidden_size", 768)
    mlp_width = config_json.get("intermediate_size", 3072)
    if family == "dinov2":
        mlp_width = int(width * config_json.get("mlp_ratio", 4))
    return ViTConfig(
        classes=classes,
        width=width,
        depth=config_json.get("num_hidden_layers", 12),
        heads=config_json.get("num_attention_heads", 12),
        mlp_width=mlp_width,
        patch_size=config_json.get("patch_size", 16),
        image_size=pair(config_json.get("image_size", 224)),
        channels=config_json.get("num_channels", 3),
        qkv_bias=config_json.get("qkv_bias", True),
        gelu=GELUS[activation],
        layer_norm_eps=config_json.get("layer_norm_eps", LAYER_NORM_EPS[family]),
        layer_scale=config_json.get("layerscale_value", 1.0) if family == "dinov2" else None,
    )


def size_name(config: ViTConfig) -> str:
    """'S/16' for the published widths, else the width itself."""
    letters = {192: "Ti", 384: "S", 768: "B", 1024: "L", 1280: "H"}
    return f"{letters.get(config.width, f'width {config.width}')}/{config.patch_size}"


def our_names(tensors: Mapping[str, Tensor], family: str) -> dict[str, Tensor]:
    outer = {theirs: ours for ours, theirs in OUTER_NAMES.items()}
    block = {theirs: ours for ours, theirs in BLOCK_NAMES[family].items()}
    named: dict[str, Tensor] = {}
    queries: dict[str, dict[str, Tensor]] = {}
    for full_name, tensor in tensors.items():
        name = full_name.removeprefix(f"{family}.")
        if IGNORED.fullmatch(name):
            continue
        layer = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", name)
        if layer is None:
            named[_renamed(name, outer)] = tensor
            continue
        number, rest = layer.groups()
        module, _, kind = rest.rpartition(".")
        if module in QKV:
            queries.setdefault(f"blocks.{number}.attn.qkv.{kind}", {})[module] = tensor
        else:
            named[f"blocks.{number}.{_renamed(rest, block)}"] = tensor
    for name, parts in queries.items():
        if len(parts) == len(QKV):
            named[name] = torch.cat([parts[part] for part in QKV])
    return named


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """Look up a tensor by its whole name, or by its module's; unknown names stay, to be listed."""
    if name in table:
        return table[name]
    module, _, kind = name.rpartition(".")
    return f"{table[module]}.{kind}" if module in table else name


def their_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layer = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if layer is None:
            theirs = _renamed(name, OUTER_NAMES)
            named[theirs if theirs.startswith("classifier") else f"vit.{theirs}"] = tensor
            continue
        number, rest = layer.groups()
        stem = f"vit.encoder.layer.{number}."
        if rest.startswith("attn.qkv."):
            kind = rest.rpartition(".")[2]
            for part, piece in zip(QKV, tensor.chunk(len(QKV)), strict=True):
                named[f"{stem}{part}.{kind}"] = piece
        else:
            named[stem + _renamed(rest, BLOCK_NAMES["vit"])] = tensor
    return named


def config_json_of(
    config: ViTConfig, labels: tuple[str, ...], dtype: torch.dtype
) -> dict[str, Any]:
    """The config.json of a plain ViT; raises UnsupportedError for what the layout cannot say."""
    if config.layer_scale is not None or config.distilled or config.representation:
        raise UnsupportedError(
            "The transformers ViT layout has no layer scale, distillation token or pre-logits; "
            "fold or drop them before saving."
        )
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
