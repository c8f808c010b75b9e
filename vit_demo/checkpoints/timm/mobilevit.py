"""MobileViT as timm names and describes it."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.naming import rename
from vit_demo.checkpoints.timm.timm_config import classes_of, input_size
from vit_demo.checkpoints.values import shape_of
from vit_demo.errors import CheckpointError
from vit_demo.models.mobilevit import MobileViTConfig

# A count that batch norm keeps while it is trained.
IGNORED = r"\.num_batches_tracked$"

# The side of its photos where nothing is stated.
SIDE = 256


def to_timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors under our names, which are timm's."""
    return rename(tensors, (), IGNORED)


def read_config(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> MobileViTConfig:
    """The shape of a checkpoint whose tensors bear our names, as their shapes tell it.

    timm's config.json says nothing about the architecture. Four heads and patches of 2 × 2, which
    no shape shows, are those of every MobileViT that timm has.
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
        depths=tuple(_depth(tensors, stage) for stage in (2, 3, 4)),
        features=features,
        expansion=widened / narrow,
        mlp_ratio=hidden / width,
        image_size=input_size(config_json, SIDE),
        channels=channels,
        qkv_bias="stages.2.1.transformer.0.attn.qkv.bias" in tensors,
    )


def _depth(tensors: Mapping[str, Tensor], stage: int) -> int:
    """Transformer blocks in a stage, counted."""
    pattern = re.compile(rf"stages\.{stage}\.1\.transformer\.(\d+)\.")
    return len({match[1] for name in tensors if (match := pattern.match(name))})
