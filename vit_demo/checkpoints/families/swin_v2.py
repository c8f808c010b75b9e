"""Swin V2: configurations and tensor names of transformers and timm."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.families import swin
from vit_demo.checkpoints.families.family import Family, hf_reader, timm_reader
from vit_demo.checkpoints.naming import Rule, join_apart, rename
from vit_demo.checkpoints.timm_config import model_args
from vit_demo.checkpoints.values import shape_of
from vit_demo.errors import UnsupportedError
from vit_demo.models.swin_v2 import SwinV2, SwinV2Config

# transformers' names on the left, ours (timm's) on the right.
HF_RULES: tuple[Rule, ...] = (
    (r"^swinv2\.", ""),
    (r"\.continuous_position_bias_mlp\.", ".cpb_mlp."),
    *swin.HF_RULES,
)

# Computed from the window, not learned.
COMPUTED = r"\.(relative_position_index|relative_coords_table|attn_mask)$"


def read_hf_config(config_json: Mapping[str, Any], classes: int, source: str) -> SwinV2Config:
    """The model configuration from a config.json; missing keys get transformers' defaults.

    Windows are limited to the configured grid, by its number of rows only.
    """
    fields: dict[str, Any] = dict(vars(swin.read_hf_config(config_json, classes, source)))
    rows = fields["image_size"][0] // fields["patch_size"]
    cut = [min(window, rows // 2**stage) for stage, (window, _) in enumerate(fields["windows"])]
    fields["windows"] = tuple((max(side, 1),) * 2 for side in cut)
    first = config_json.get("pretrained_window_sizes")
    return SwinV2Config(
        **fields,
        # The library always states four values, whatever the number of stages.
        pretrained_windows=(0,) * len(cut) if first is None else _windows(first)[: len(cut)],
    )


def _windows(sides: Any) -> tuple[int, ...]:
    """Window sizes, 0 allowed; the configuration checks them."""
    return tuple(sides) if isinstance(sides, list | tuple) else (sides,)


def from_hf_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors to our names, and join query, key and value."""
    return join_apart(rename(tensors, HF_RULES, rf"{COMPUTED}|embeddings\.mask_token$"))


def from_timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors to our names, and join the biases of query, key and value."""
    return join_apart(rename(swin.from_timm_names(tensors), (), COMPUTED))


# The architecture's name shows the window size if no argument does.
WINDOW = re.compile(r"_window(?:\d+to)?(\d{1,4})_")
FINE_TUNED = "_window12to"
PRETRAINED = (12, 12, 12, 6)


def read_timm_config(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> SwinV2Config:
    """The model configuration, from the tensors, the model arguments and the architecture name."""
    name, stated = str(config_json.get("architecture", "")), model_args(config_json)
    windows = stated.get("window_size")
    if windows is None:
        if not (found := WINDOW.search(name)):
            raise UnsupportedError(
                f"{source} is a '{name}' whose window no name and no argument tells; state "
                "window_size in model_args."
            )
        windows = int(found[1])
    fields = swin.timm_fields(config_json, tensors, source, "attn.logit_scale", 0, windows)
    depths = fields["depths"]
    pretrained = PRETRAINED if FINE_TUNED in name else (0,) * len(depths)
    width = "layers.0.blocks.0.attn.cpb_mlp.0.bias"
    return SwinV2Config(
        **fields,
        pretrained_windows=_windows(stated.get("pretrained_window_sizes", pretrained)),
        bias_width=shape_of(tensors, width, 1)[0] if width in tensors else 1,
    )


FAMILY = Family(
    model=SwinV2,
    model_types={"swinv2": "Swin V2"},
    read_hf=hf_reader(read_hf_config, from_hf_names, swin.size_name),
    timm_names=r"swinv2_(?!cr_)",
    timm_arguments=(*swin.TIMM_ARGUMENTS, "pretrained_window_sizes"),
    only_mean=True,
    read_timm=timm_reader(from_timm_names, read_timm_config),
)
