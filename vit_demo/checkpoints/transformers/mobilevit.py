"""MobileViT as the transformers library names and describes it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.naming import Rule, join_qkv, rename, square
from vit_demo.checkpoints.values import flag, number, sides, whole, wholes
from vit_demo.errors import UnsupportedError
from vit_demo.models.mobilevit import PRESETS, MobileViTConfig

# Their names on the left, ours (timm's) on the right.
RULES: tuple[Rule, ...] = (
    (r"^mobilevit\.", ""),
    (r"^conv_stem\.", "stem."),
    (r"^conv_1x1_exp\.", "final_conv."),
    (r"^classifier\.", "head.fc."),
    (r"^encoder\.layer\.(\d+)\.layer\.", r"stages.\1."),
    (r"^encoder\.layer\.(\d+)\.downsampling_layer\.", r"stages.\1.0."),
    (r"^encoder\.layer\.(\d+)\.", r"stages.\1.1."),
    (r"\.expand_1x1\.", ".conv1_1x1."),
    (r"\.conv_3x3\.", ".conv2_kxk."),
    (r"\.reduce_1x1\.", ".conv3_1x1."),
    (r"\.conv_projection\.", ".conv_proj."),
    (r"\.fusion\.", ".conv_fusion."),
    (r"\.conv_1x1\.convolution\.", ".conv_1x1."),
    (r"\.convolution\.", ".conv."),
    (r"\.normalization\.", ".bn."),
    (r"\.transformer\.layer\.", ".transformer."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.layernorm\.", ".norm."),
    (r"\.attention\.attention\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)

# A count that batch norm keeps while it is trained.
IGNORED = r"\.num_batches_tracked$"

# What is read only with this value; each is the library's default.
ONLY = {"hidden_act": "silu", "output_stride": 32, "conv_kernel_size": 3}


def read_config(config_json: Mapping[str, Any], classes: int, source: str) -> MobileViTConfig:
    """The shape that a config.json describes; what it leaves out is the library's default."""
    for name, value in ONLY.items():
        if config_json.get(name, value) != value:
            raise UnsupportedError(
                f"{source} has {name}={config_json[name]}; only {value} is read."
            )
    stem, *stages, features = wholes(
        config_json, "neck_hidden_sizes", (16, 32, 64, 96, 128, 160, 640), count=7
    )
    return MobileViTConfig(
        classes=classes,
        stem=stem,
        channels_of_stages=tuple(stages),
        widths=wholes(config_json, "hidden_sizes", (144, 192, 240), count=3),
        features=features,
        expansion=number(config_json, "expand_ratio", 4.0),
        heads=whole(config_json, "num_attention_heads", 4),
        mlp_ratio=number(config_json, "mlp_ratio", 2.0),
        patch_size=square(config_json.get("patch_size", 2), source),
        image_size=sides(config_json, "image_size", 256),
        channels=whole(config_json, "num_channels", 3),
        qkv_bias=flag(config_json, "qkv_bias", True),
        layer_norm_eps=number(config_json, "layer_norm_eps", 1e-5, least=0.0, most=1.0),
    )


def to_timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors under our names, query, key and value in one."""
    return join_qkv(rename(tensors, RULES, IGNORED))


def size_name(config: MobileViTConfig) -> str:
    """'S' for the published sizes, else the width of the last transformer."""
    for name, published in PRESETS.items():
        if config.widths == published.widths:
            return name.upper()
    return f"width {config.widths[-1]}"
