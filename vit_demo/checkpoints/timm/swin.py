"""Swin as timm names and describes it."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.naming import Rule, pair, rename, square, to_next_stage
from vit_demo.checkpoints.timm.stated import input_size, model_args
from vit_demo.errors import CheckpointError, UnsupportedError
from vit_demo.models.grids import Grid
from vit_demo.models.swin import SwinConfig

# Files from before 2023 merge at the end of a stage and call the head by its plain name.
OLD_RULES: tuple[Rule, ...] = (
    (r"^layers\.(\d+)\.downsample\.", to_next_stage),
    (r"^head\.(weight|bias)$", r"head.fc.\1"),
)

# Computed from the window, not learned.
IGNORED = r"\.(relative_position_index|attn_mask)$"


def our_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors under our names, which are timm's of today."""
    old = any(name.startswith("layers.0.downsample.") for name in tensors) or (
        "head.weight" in tensors
    )
    return rename(tensors, OLD_RULES if old else (), IGNORED)


def read_config(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> SwinConfig:
    """The shape of a checkpoint whose tensors bear our names.

    timm's config.json says little about the architecture, and older ones nothing: what can be
    seen from names and shapes is taken from there.
    """
    stated = model_args(config_json)
    if stated.get("always_partition"):
        raise UnsupportedError(f"{source} always shifts (always_partition), which is not read.")
    depths = _depths(tensors)
    try:
        kernel = tensors["patch_embed.proj.weight"]
        tables = [
            tensors[f"layers.{stage}.blocks.0.attn.relative_position_bias_table"]
            for stage in range(len(depths))
        ]
        hidden = len(tensors["layers.0.blocks.0.mlp.fc1.weight"])
    except KeyError as error:
        raise CheckpointError(
            f"{source} has no {error}; it is no Swin as timm saves it."
        ) from error
    width, channels, *sides = kernel.shape
    patch_size = square(sides, source)
    _check_head_width(tensors, width, source)
    image_size = _image_size(config_json, stated)
    if any(side % patch_size for side in image_size):
        raise UnsupportedError(
            f"{source} takes photos of {image_size[0]} × {image_size[1]} pixels, no whole number "
            f"of {patch_size}-pixel patches: timm leaves the rest out, which is not read here."
        )
    grid = tuple(side // patch_size for side in image_size)
    head = tensors.get("head.fc.bias")
    return SwinConfig(
        classes=config_json.get("num_classes", 1000) if head is None else len(head),
        width=width,
        depths=depths,
        heads=tuple(table.shape[1] for table in tables),
        windows=_windows(stated.get("window_size"), [len(table) for table in tables], grid),
        mlp_ratio=hidden / width,
        patch_size=patch_size,
        image_size=image_size,
        channels=channels,
        qkv_bias="layers.0.blocks.0.attn.qkv.bias" in tensors,
        convention="timm",
    )


def _check_head_width(tensors: Mapping[str, Tensor], width: int, source: str) -> None:
    """Raise UnsupportedError where the heads together are not as wide as their tokens."""
    attended = tensors.get("layers.0.blocks.0.attn.proj.weight")
    if attended is not None and attended.shape[1] != width:
        raise UnsupportedError(
            f"{source} has heads that are {attended.shape[1]} wide together for tokens of {width} "
            "(head_dim), which is not read here; choose one whose heads share the token's width."
        )


def _depths(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Blocks in every stage, counted."""
    found = {
        (int(match[1]), int(match[2]))
        for name in tensors
        if (match := re.match(r"layers\.(\d+)\.blocks\.(\d+)\.", name))
    }
    stages = 1 + max((stage for stage, _ in found), default=-1)
    return tuple(sum(own == stage for own, _ in found) for stage in range(stages))


def _image_size(config_json: Mapping[str, Any], stated: Mapping[str, Any]) -> Grid:
    """What the model was built for, else what its photos are brought to."""
    return pair(stated["img_size"]) if "img_size" in stated else input_size(config_json)


def _windows(
    stated: int | Sequence[Any] | None, offsets: Sequence[int], grid: tuple[int, ...]
) -> tuple[Grid, ...]:
    """Every stage's window, along each axis no larger than its grid.

    Stated are one number, or (rows, columns), or a list with either for every stage. Where nothing
    is, windows are square and a table of (2w−1)² offsets tells w.
    """
    match stated:
        case None:
            wanted = [pair((math.isqrt(count) + 1) // 2) for count in offsets]
        case int() | [int(), int()]:
            wanted = [pair(stated)] * len(offsets)
        case _:
            wanted = [pair(window) for window in stated]
    grids = [tuple(math.ceil(side / 2**stage) for side in grid) for stage in range(len(offsets))]
    return tuple(
        (min(rows, own[0]), min(cols, own[1]))
        for (rows, cols), own in zip(wanted, grids, strict=True)
    )
