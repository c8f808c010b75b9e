"""MobileViT: configurations and tensor names of transformers and timm."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.families.family import Family, hf_reader, timm_reader
from vit_demo.checkpoints.naming import Rule, join_qkv, rename, square
from vit_demo.checkpoints.timm_config import classes_of, input_size
from vit_demo.checkpoints.values import flag, number, shape_of, sides, whole, wholes
from vit_demo.errors import CheckpointError, UnsupportedError
from vit_demo.models.mobilevit import PRESETS, MobileViT, MobileViTConfig

# transformers' names on the left, ours (timm's) on the right.
HF_RULES: tuple[Rule, ...] = (
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

# The batch counter of batch norm, which is used only in training.
HF_IGNORED = r"\.num_batches_tracked$"

# Only these values are supported; each is the library's default.
HF_ONLY = {"hidden_act": "silu", "output_stride": 32, "conv_kernel_size": 3}


def read_hf_config(config_json: Mapping[str, Any], classes: int, source: str) -> MobileViTConfig:
    """The model configuration from a config.json; missing keys get transformers' defaults."""
    for name, value in HF_ONLY.items():
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


def from_hf_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors to our names, and join query, key and value."""
    return join_qkv(rename(tensors, HF_RULES, HF_IGNORED))


def size_name(config: MobileViTConfig) -> str:
    """'S' for the published sizes, else the width of the last transformer."""
    for name, published in PRESETS.items():
        if config.widths == published.widths:
            return name.upper()
    return f"width {config.widths[-1]}"


# The batch counter of batch norm, which is used only in training.
TIMM_IGNORED = r"\.num_batches_tracked$"

# The default image size.
TIMM_SIDE = 256


def from_timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop unused tensors; our names are timm's."""
    return rename(tensors, (), TIMM_IGNORED)


def read_timm_config(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> MobileViTConfig:
    """The model configuration from the tensor shapes; the tensors have our names.

    timm's config.json says nothing about the architecture. Four heads and patches of 2 × 2, which
    no shape shows, are those of every MobileViT in timm.
    """
    try:
        stem, channels, _, _ = shape_of(tensors, "stem.conv.weight", 4)
        widened, narrow, _, _ = shape_of(tensors, "stages.1.0.conv1_1x1.conv.weight", 4)
        projections = [f"stages.{stage}.1.conv_1x1.weight" for stage in (2, 3, 4)]
        residuals = [f"stages.{stage}.0.conv3_1x1.conv.weight" for stage in range(5)]
        hidden, width = shape_of(tensors, "stages.2.1.transformer.0.mlp.fc1.weight", 2)
        features, _, _, _ = shape_of(tensors, "final_conv.conv.weight", 4)
        channels_of_stages = tuple(shape_of(tensors, name, 4)[0] for name in residuals)
        widths = tuple(shape_of(tensors, name, 4)[0] for name in projections)
    except KeyError as error:
        raise CheckpointError(
            f"{source} has no {error}; it is no MobileViT as timm saves it."
        ) from error
    return MobileViTConfig(
        classes=classes_of(config_json, tensors.get("head.fc.bias")),
        stem=stem,
        channels_of_stages=channels_of_stages,
        widths=widths,
        depths=tuple(depth_of(tensors, stage) for stage in (2, 3, 4)),
        features=features,
        expansion=widened / narrow,
        mlp_ratio=hidden / width,
        image_size=input_size(config_json, TIMM_SIDE),
        channels=channels,
        qkv_bias="stages.2.1.transformer.0.attn.qkv.bias" in tensors,
    )


def depth_of(tensors: Mapping[str, Tensor], stage: int) -> int:
    """The number of transformer blocks in a stage."""
    pattern = re.compile(rf"stages\.{stage}\.1\.transformer\.(\d+)\.")
    return len({match[1] for name in tensors if (match := pattern.match(name))})


FAMILY = Family(
    model=MobileViT,
    model_types={"mobilevit": "MobileViT"},
    read_hf=hf_reader(read_hf_config, from_hf_names, size_name),
    processors={"mobilevit": "MobileViT"},
    timm_names=r"mobilevit_",
    only_mean=True,
    read_timm=timm_reader(from_timm_names, read_timm_config),
)
