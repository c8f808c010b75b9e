"""MobileViT V2: configurations and tensor names of transformers and timm.

Everything but the image size, the patch size and eps is inferred from the shapes of the tensors.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.families import mobilevit
from vit_demo.checkpoints.families.family import Family
from vit_demo.checkpoints.naming import Rule, rename, square
from vit_demo.checkpoints.timm_config import classes_of, input_size
from vit_demo.checkpoints.values import number, shape_of, sides
from vit_demo.errors import CheckpointError, UnsupportedError
from vit_demo.models.mobilevit_v2 import ATTENDING, BLOCKS, MobileViTV2, MobileViTV2Config

# transformers' names on the left, ours (timm's) on the right.
HF_RULES: tuple[Rule, ...] = (
    (r"^mobilevitv2\.", ""),
    (r"\.attention\.(qkv|out)_proj\.convolution\.", r".attn.\1_proj."),
    (r"\.ffn\.conv([12])\.convolution\.", r".mlp.fc\1."),
    *mobilevit.HF_RULES,
)

# Only these values are supported; the first of each is the library's default.
HF_ONLY = {"hidden_act": ("swish", "silu"), "output_stride": (32,), "conv_kernel_size": (3,)}

STAGES = tuple(range(len(BLOCKS), len(BLOCKS) + ATTENDING))


def shapes(tensors: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """The fields of a `MobileViTV2Config` that the tensors show."""
    try:
        stem, channels, _, _ = shape_of(tensors, "stem.conv.weight", 4)
        widened, narrow, _, _ = shape_of(tensors, "stages.1.0.conv1_1x1.conv.weight", 4)
        residuals = [f"stages.{stage}.0.conv3_1x1.conv.weight" for stage in range(5)]
        projections = [f"stages.{stage}.1.conv_1x1.weight" for stage in STAGES]
        layers = [f"stages.{stage}.1.transformer.0.mlp.fc1.weight" for stage in STAGES]
        return {
            "stem": stem,
            "channels": channels,
            "channels_of_stages": tuple(shape_of(tensors, name, 4)[0] for name in residuals),
            "widths": tuple(shape_of(tensors, name, 4)[0] for name in projections),
            "mlp_widths": tuple(shape_of(tensors, name, 4)[0] for name in layers),
            "depths": tuple(mobilevit.depth_of(tensors, stage) for stage in STAGES),
            "expansion": widened / narrow,
        }
    except KeyError as error:
        raise CheckpointError(f"{source} has no {error}; it is no MobileViT V2.") from error


def _read_hf(
    config_json: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    model_type: str,
    classes: int,
    source: str,
) -> tuple[MobileViTV2Config, Mapping[str, Tensor], str]:
    del model_type
    for name, values in HF_ONLY.items():
        if config_json.get(name, values[0]) not in values:
            raise UnsupportedError(
                f"{source} has {name}={config_json[name]}; only {values[0]} is read."
            )
    named = rename(tensors, HF_RULES, mobilevit.HF_IGNORED)
    config = MobileViTV2Config(
        classes=classes,
        patch_size=square(config_json.get("patch_size", 2), source),
        image_size=sides(config_json, "image_size", 256),
        layer_norm_eps=number(config_json, "layer_norm_eps", 1e-5, least=0.0, most=1.0),
        convention="transformers",
        **shapes(named, source),
    )
    return config, named, f"width {config.widths[-1]}"


def _read_timm(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> tuple[MobileViTV2Config, Mapping[str, Tensor]]:
    named = mobilevit.from_timm_names(tensors)
    config = MobileViTV2Config(
        classes=classes_of(config_json, named.get("head.fc.bias")),
        image_size=input_size(config_json, mobilevit.TIMM_SIDE),
        convention="timm",
        **shapes(named, source),
    )
    return config, named


FAMILY = Family(
    model=MobileViTV2,
    model_types={"mobilevitv2": "MobileViT V2"},
    read_hf=_read_hf,
    processors={"mobilevitv2": "MobileViT"},
    timm_names=r"mobilevitv2_",
    only_mean=True,
    read_timm=_read_timm,
)
