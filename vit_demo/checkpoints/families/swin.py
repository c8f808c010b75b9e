"""Swin: configurations and tensor names of transformers and timm."""

import math
import re
from collections.abc import Mapping
from reprlib import repr as shortened
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.families.family import Family, hf_reader, timm_reader
from vit_demo.checkpoints.families.vit import read_gelu
from vit_demo.checkpoints.files import CONFIG
from vit_demo.checkpoints.naming import HF_SIDE, Rule, join_qkv, rename, square, to_next_stage
from vit_demo.checkpoints.timm_config import classes_of, input_size, model_args
from vit_demo.checkpoints.values import flag, number, pair, shape_of, sides, whole, wholes
from vit_demo.errors import CheckpointError, ConfigError, UnsupportedError
from vit_demo.models.grids import Grid
from vit_demo.models.swin import Swin, SwinConfig

# transformers' names on the left, ours (timm's) on the right.
HF_RULES: tuple[Rule, ...] = (
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

# Computed from the window, not learned; and a pre-training token.
HF_IGNORED = r"\.relative_position_index$|embeddings\.mask_token$"

HF_SIZES: dict[tuple[int, tuple[int, ...]], str] = {
    (96, (2, 2, 6, 2)): "T",
    (96, (2, 2, 18, 2)): "S",
    (128, (2, 2, 18, 2)): "B",
    (192, (2, 2, 18, 2)): "L",
}


def read_hf_config(config_json: Mapping[str, Any], classes: int, source: str) -> SwinConfig:
    """The model configuration from a config.json; missing keys get transformers' defaults."""
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
        image_size=sides(config_json, "image_size", HF_SIDE),
        channels=whole(config_json, "num_channels", 3),
        qkv_bias=flag(config_json, "qkv_bias", True),
        gelu=read_gelu(config_json, source),
        layer_norm_eps=number(config_json, "layer_norm_eps", 1e-5, least=0.0, most=1.0),
        convention="transformers",
    )


def from_hf_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors to our names, and join query, key and value."""
    return join_qkv(rename(tensors, HF_RULES, HF_IGNORED))


def size_name(config: SwinConfig) -> str:
    """'T' for the published sizes, else the width itself."""
    return HF_SIZES.get((config.width, config.depths), f"width {config.width}")


# Files from before 2023 have patch merging at the end of a stage and another name for the head.
OLD_RULES: tuple[Rule, ...] = (
    (r"^layers\.(\d{1,4})\.downsample\.", to_next_stage),
    (r"^head\.(weight|bias)$", r"head.fc.\1"),
)

# Computed from the window, not learned.
TIMM_IGNORED = r"\.(relative_position_index|attn_mask)$"


def from_timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors of any timm version to our names, which are those of current timm."""
    old = any(name.startswith("layers.0.downsample.") for name in tensors) or (
        "head.weight" in tensors
    )
    return rename(tensors, OLD_RULES if old else (), TIMM_IGNORED)


def read_timm_config(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> SwinConfig:
    """The model configuration; the tensors have our names.

    timm's config.json says little about the architecture, and older ones say nothing: the rest is
    inferred from tensor names and shapes.
    """
    names = [
        f"layers.{stage}.blocks.0.attn.relative_position_bias_table"
        for stage in range(len(_depths(tensors)))
    ]
    offsets = [shape_of(tensors, name, 2)[0] for name in names if name in tensors]
    windows = model_args(config_json).get("window_size")
    if windows is None:
        # Assumes square windows: a table of (2w−1)² offsets gives w.
        windows = [((math.isqrt(count) + 1) // 2,) * 2 for count in offsets]
    heads = "attn.relative_position_bias_table"
    return SwinConfig(**timm_fields(config_json, tensors, source, heads, 1, windows))


def timm_fields(
    config_json: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    source: str,
    name: str,
    dimension: int,
    windows: Any,
) -> dict[str, Any]:
    """The fields of a `SwinConfig`, or of a subclass of it.

    `name` is a tensor of a block whose size in `dimension` is the number of heads. `windows` is one
    number, (rows, columns), or a list with one of either for every stage.
    """
    stated = model_args(config_json)
    if stated.get("always_partition"):
        raise UnsupportedError(f"{source} always shifts (always_partition), which is not read.")
    depths = _depths(tensors)
    try:
        width, channels, *kernel = shape_of(tensors, "patch_embed.proj.weight", 4)
        shapes = [
            tuple(tensors[f"layers.{stage}.blocks.0.{name}"].shape) for stage in range(len(depths))
        ]
        hidden, _ = shape_of(tensors, "layers.0.blocks.0.mlp.fc1.weight", 2)
    except KeyError as error:
        raise CheckpointError(
            f"{source} has no {error}; it is no Swin as timm saves it."
        ) from error
    patch_size = square(kernel, source)
    _check_head_width(tensors, width, source)
    image_size = _image_size(config_json, stated)
    if any(side % patch_size for side in image_size):
        raise UnsupportedError(
            f"{source} takes photos of {image_size[0]} × {image_size[1]} pixels, no whole number "
            f"of {patch_size}-pixel patches: timm leaves the rest out, which is not read here."
        )
    grid = tuple(side // patch_size for side in image_size)
    return {
        "classes": classes_of(config_json, tensors.get("head.fc.bias")),
        "width": width,
        "depths": depths,
        "heads": tuple(shape[dimension] for shape in shapes),
        "windows": _windows(windows, len(depths), grid),
        "mlp_ratio": hidden / width,
        "patch_size": patch_size,
        "image_size": image_size,
        "channels": channels,
        "qkv_bias": "layers.0.blocks.0.attn.qkv.bias" in tensors,
        "convention": "timm",
    }


def _check_head_width(tensors: Mapping[str, Tensor], width: int, source: str) -> None:
    """Raise UnsupportedError if the total width of the heads differs from the token width."""
    name = "layers.0.blocks.0.attn.proj.weight"
    together = shape_of(tensors, name, 2)[1] if name in tensors else width
    if together != width:
        raise UnsupportedError(
            f"{source} has heads that are {together} wide together for tokens of {width} "
            "(head_dim), which is not read here; choose one whose heads share the token's width."
        )


def _depths(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The number of blocks in every stage."""
    found = {
        (int(match[1]), int(match[2]))
        for name in tensors
        if (match := re.match(r"layers\.(\d{1,4})\.blocks\.(\d{1,4})\.", name))
    }
    stages = len({stage for stage, _ in found})
    return tuple(sum(own == stage for own, _ in found) for stage in range(stages))


def _image_size(config_json: Mapping[str, Any], stated: Mapping[str, Any]) -> Grid:
    """The image size of the model arguments, else the input size of the preprocessing."""
    return sides(stated, "img_size", 0) if "img_size" in stated else input_size(config_json)


def _windows(stated: Any, stages: int, grid: tuple[int, ...]) -> tuple[Grid, ...]:
    """Every stage's window, limited to the size of its grid."""
    name = f"{CONFIG}: window_size"
    match stated:
        case int() | [int(), int()]:
            wanted = [pair(stated, name)] * stages
        case list() | tuple() if len(stated) == stages:
            wanted = [pair(window, name) for window in stated]
        case _:
            raise ConfigError(
                f"{name}={shortened(stated)}, but it must be one size, or one for each of the "
                f"{stages} stages."
            )
    grids = [tuple(math.ceil(side / 2**stage) for side in grid) for stage in range(stages)]
    return tuple(
        (min(rows, own[0]), min(cols, own[1]))
        for (rows, cols), own in zip(wanted, grids, strict=True)
    )


TIMM_ARGUMENTS = (
    *("patch_size", "embed_dim", "depths", "num_heads", "mlp_ratio", "qkv_bias"),
    *("window_size", "always_partition", "strict_img_size", "dynamic_img_size"),
)

FAMILY = Family(
    model=Swin,
    model_types={"swin": "Swin"},
    read_hf=hf_reader(read_hf_config, from_hf_names, size_name),
    timm_names=r"swin_",
    timm_arguments=(*TIMM_ARGUMENTS, "head_dim"),
    only_mean=True,
    read_timm=timm_reader(from_timm_names, read_timm_config),
)
