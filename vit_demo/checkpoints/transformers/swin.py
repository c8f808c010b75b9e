"""Swin as the transformers library names and describes it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.naming import Rule, join_qkv, rename, square, to_next_stage
from vit_demo.checkpoints.transformers.vit import read_gelu
from vit_demo.checkpoints.values import flag, number, sides, whole, wholes
from vit_demo.errors import UnsupportedError
from vit_demo.models.swin import SwinConfig

# Their names on the left, ours (timm's) on the right.
RULES: tuple[Rule, ...] = (
    (r"^swin\.", ""),
    (r"^encoder\.", ""),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.norm\.", "patch_embed.norm."),
    (r"^layernorm\.", "norm."),
    (r"^classifier\.", "head.fc."),
    (r"^layers\.(\d{1,4})\.downsample\.", to_next_stage),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.self\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)

# Computed from the window, not learned; and a token of pre-training.
IGNORED = r"\.relative_position_index$|embeddings\.mask_token$"

SIZES: dict[tuple[int, tuple[int, ...]], str] = {
    (96, (2, 2, 6, 2)): "T",
    (96, (2, 2, 18, 2)): "S",
    (128, (2, 2, 18, 2)): "B",
    (192, (2, 2, 18, 2)): "L",
}


def read_config(config_json: Mapping[str, Any], classes: int, source: str) -> SwinConfig:
    """The shape that a config.json describes; what it leaves out is the library's default."""
    if flag(config_json, "use_absolute_embeddings", False):
        raise UnsupportedError(
            f"{source} has absolute position embeddings, which no published Swin has; "
            "only relative ones are read."
        )
    depths = wholes(config_json, "depths", (2, 2, 6, 2))
    return SwinConfig(
        classes=classes,
        width=whole(config_json, "embed_dim", 96),
        depths=depths,
        heads=wholes(config_json, "num_heads", (3, 6, 12, 24)),
        windows=(sides(config_json, "window_size", 7),) * len(depths),
        mlp_ratio=number(config_json, "mlp_ratio", 4.0),
        patch_size=square(config_json.get("patch_size", 4), source),
        image_size=sides(config_json, "image_size", 224),
        channels=whole(config_json, "num_channels", 3),
        qkv_bias=flag(config_json, "qkv_bias", True),
        gelu=read_gelu(config_json, source),
        layer_norm_eps=number(config_json, "layer_norm_eps", 1e-5, least=0.0, most=1.0),
        convention="transformers",
    )


def to_timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors under our names, query, key and value in one."""
    return join_qkv(rename(tensors, RULES, IGNORED))


def size_name(config: SwinConfig) -> str:
    """'T' for the published sizes, else the width itself."""
    return SIZES.get((config.width, config.depths), f"width {config.width}")
