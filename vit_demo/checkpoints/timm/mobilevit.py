"""MobileViT as timm names and describes it."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.naming import rename
from vit_demo.checkpoints.timm.stated import pretrained
from vit_demo.errors import CheckpointError
from vit_demo.models.mobilevit import MobileViTConfig

# A count that batch norm keeps while it is trained.
IGNORED = r"\.num_batches_tracked$"


def our_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
        stem = tensors["stem.conv.weight"]
        widened = tensors["stages.1.0.conv1_1x1.conv.weight"]
        projections = [tensors[f"stages.{stage}.1.conv_1x1.weight"] for stage in (2, 3, 4)]
        residuals = [tensors[f"stages.{stage}.0.conv3_1x1.conv.weight"] for stage in range(5)]
        hidden = tensors["stages.2.1.transformer.0.mlp.fc1.weight"]
        features = tensors["final_conv.conv.weight"]
    except KeyError as error:
        raise CheckpointError(
            f"{source} has no {error}; it is no MobileViT as timm saves it."
        ) from error
    head = tensors.get("head.fc.bias")
    _, height, width = pretrained(config_json).get("input_size", (3, 256, 256))
    return MobileViTConfig(
        classes=config_json.get("num_classes", 1000) if head is None else len(head),
        stem=len(stem),
        channels_of_stages=tuple(len(weight) for weight in residuals),
        widths=tuple(len(weight) for weight in projections),
        depths=tuple(_depth(tensors, stage) for stage in (2, 3, 4)),
        features=len(features),
        expansion=widened.shape[0] / widened.shape[1],
        mlp_ratio=hidden.shape[0] / hidden.shape[1],
        image_size=(height, width),
        channels=stem.shape[1],
        qkv_bias="stages.2.1.transformer.0.attn.qkv.bias" in tensors,
    )


def _depth(tensors: Mapping[str, Tensor], stage: int) -> int:
    """Transformer blocks in a stage, counted."""
    pattern = re.compile(rf"stages\.{stage}\.1\.transformer\.(\d+)\.")
    return len({match[1] for name in tensors if (match := pattern.match(name))})
