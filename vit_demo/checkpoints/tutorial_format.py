"""The layout of tutorials: a bare .pth, an optional file of class names, no configuration.

The state dict has timm's names, so it is read as timm's, with an empty configuration: everything is
inferred from the tensors. The preprocessing is guessed from the family, and every result says so.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vit_demo.checkpoints import class_names, timm_config, timm_format
from vit_demo.checkpoints.calibration import read_calibration
from vit_demo.checkpoints.checkpoint import FLOATS, ParsedCheckpoint
from vit_demo.checkpoints.families import readable
from vit_demo.checkpoints.files import WEIGHTS
from vit_demo.checkpoints.naming import COLOURS
from vit_demo.checkpoints.preprocessing_presets import PRESETS
from vit_demo.checkpoints.problem import read_problem
from vit_demo.checkpoints.processor import read_preprocessing, stored_processor
from vit_demo.checkpoints.timm_config import pretrained, read_labels, states_preprocessing
from vit_demo.checkpoints.values import shape_of
from vit_demo.checkpoints.weights import Weights, open_pickle, open_weights
from vit_demo.errors import CheckpointError, UnsupportedError
from vit_demo.models.base import ModelConfig
from vit_demo.models.swin import SwinConfig
from vit_demo.models.vit import ViTConfig

LAYOUT = "tutorial"
SUFFIX = ".pth"

# Shape of a token, or of its position: (1, tokens, width).
TOKEN_DIMENSIONS = 3

# Widths for which all of timm's ViTs have the same number of heads.
WIDTHS = (192, 384, 512, 640, 768, 832, 896, 1024, 1152, 1280, 1408, 1664)
# Two published families whose eps or activation differs, which only their names show.
NAMELESS = {"norm_pre.weight": "CLIP", "patch_embed.norm.weight": "AIMv2"}
POOLED = ("cls_token", "fc_norm.weight")
# The last window of a published Swin covers its whole last grid. Together with the patch size it
# determines the image size.
SIDES = {(4, 7): 224, (4, 12): 384}
KERNEL, MASK = "patch_embed.proj.weight", "layers.0.blocks.1.attn_mask"
SAVE = (
    "save it with timm's config.json, its architecture and model_args in it, and model.safetensors"
)

# A tensor of every model of the family, and the name of its smallest configuration.
SIGNS = {
    "blocks.0.attn.qkv.weight": ("vit", "ViT"),
    "layers.0.blocks.0.attn.qkv.weight": ("swin_", "Swin"),
}


def find(folder: Path, source: str) -> Path | None:
    """The only .pth in a folder; None if there is none, CheckpointError if there are several."""
    found = sorted(folder.glob(f"*{SUFFIX}"))
    if len(found) > 1:
        raise CheckpointError(
            f"{source} holds {', '.join(path.name for path in found)}; name the one to read."
        )
    return found[0] if found else None


def read(path: Path, source: str, names: Path | None = None) -> ParsedCheckpoint:
    """Read a .pth and its class names. `source` names it in messages.

    `names` is the user's file of class names; without it, one is searched beside the weights and
    beside their folder. A preprocessor_config.json beside the weights defines the preprocessing;
    without one it is guessed. Raises CheckpointError if there are no tensors, UnsupportedError if
    they belong to no supported family.
    """
    return from_weights(open_pickle(path, source), path, source, names or class_names.find(path))


def read_folder(
    folder: Path, config_json: Mapping[str, Any], source: str, names: Path | None = None
) -> ParsedCheckpoint:
    """Read a folder whose configuration names no model but may have labels, mean and std.

    Raises the same errors as `read`.
    """
    weights = open_weights(folder, source, allow_pickle=False)
    parsed = from_weights(weights, folder / WEIGHTS, source, names)
    if names is None and (config_json.get("label_names") or config_json.get("id2label")):
        stated = {"label_names": config_json.get("label_names") or config_json["id2label"]}
        parsed = replace(parsed, labels=read_labels(stated, len(parsed.labels), source))
    if parsed.preprocessing_source == "guess" and states_preprocessing(config_json):
        stated = {"input_size": (COLOURS, *parsed.config.image_size), **pretrained(config_json)}
        preprocessing = timm_config.read_preprocessing(stated, source)
        parsed = replace(parsed, preprocessing=preprocessing, preprocessing_source="file")
    problem = read_problem(config_json, len(parsed.labels), source)
    return replace(parsed, calibration=read_calibration(config_json, source), problem=problem)


def from_weights(weights: Weights, path: Path, source: str, names: Path | None) -> ParsedCheckpoint:
    """Infer a checkpoint from its tensors, its class names file and its processor file."""
    tensors = from_dinov2_names(weights.tensors)
    sign = next((name for name in SIGNS if name in tensors), None)
    if sign is None:
        raise UnsupportedError(
            f"{source} holds tensors of no ViT or Swin with timm's names (blocks.0.attn.qkv, …); "
            f"a {SUFFIX} is read of ViT, DeiT, DINOv2 and Swin. With config.json and "
            f"model.safetensors, what can be read: {readable()}."
        )
    architecture, family = SIGNS[sign]
    stated: dict[str, Any] = {"architecture": architecture}
    if family == "Swin":
        stated["model_args"] = {"img_size": _swin_side(tensors, source)}
    else:
        _check_vit(tensors, source)
    parsed = timm_format.describe(stated, tensors, source)
    config = parsed.config
    if not parsed.has_head:
        names = None  # a backbone, even if a file of class names exists
    if names is not None and names.name == class_names.CLASS_LIST:
        config = with_tanh_gelu(config)
    processor = stored_processor(path.parent, source)
    return replace(
        parsed,
        architecture=family,
        layout=LAYOUT,
        config=config,
        labels=parsed.labels
        if names is None
        else class_names.read(names, len(parsed.labels), source),
        preprocessing=PRESETS[preset_of(tensors, family, names)].at(config.image_size)
        if processor is None
        else read_preprocessing(processor, config.image_size, source),
        preprocessing_source="guess" if processor is None else "file",
        notes=weights.notes,
    )


def preset_of(tensors: Mapping[str, Tensor], family: str, names: Path | None) -> str:
    """The most probable preset for a bare weights file.

    The tensors show the family, and a file of class names shows the tutorial; nothing shows more.
    """
    if names is not None and names.name == class_names.CLASS_LIST:
        return "short-side"
    if family == "Swin":
        return "swin"
    if "dist_token" in tensors:
        return "deit"
    return "dinov2" if "blocks.0.ls1.gamma" in tensors else "vit"


def with_tanh_gelu(config: ModelConfig) -> ModelConfig:
    """Use the tanh approximation of GELU, as does the tutorial with cls_classes.txt."""
    if isinstance(config, ViTConfig | SwinConfig):
        return replace(config, gelu="tanh")
    return config


def from_dinov2_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert the names of DINOv2's own repository to timm's: registers and the gated MLP.

    With registers, timm adds the class token's position to the token itself.
    """
    named = {re.sub(r"\.mlp\.w12\.", ".mlp.fc1.", name): t for name, t in tensors.items()}
    named = {re.sub(r"\.mlp\.w3\.", ".mlp.fc2.", name): t for name, t in named.items()}
    if {"register_tokens", "cls_token", "pos_embed"} <= named.keys():
        named["reg_token"] = named.pop("register_tokens")
        token, positions = named["cls_token"], named["pos_embed"]
        floats = {token.dtype, positions.dtype} <= FLOATS
        if floats and positions.ndim == TOKEN_DIMENSIONS and positions[:, :1].shape == token.shape:
            named["cls_token"] = token + positions[:, :1]
            named["pos_embed"] = positions[:, 1:]
    return named


def _check_vit(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise UnsupportedError if the heads, eps or activation cannot be inferred."""
    for name, family in NAMELESS.items():
        if name in tensors:
            raise UnsupportedError(
                f"{source} has a '{name.removesuffix('.weight')}', as {family} has, whose eps and "
                f"activation no tensor shows; {SAVE}."
            )
    if not any(name in tensors for name in POOLED):
        raise UnsupportedError(
            f"{source} has neither a class token nor a norm after pooling, as SigLIP's models "
            f"have, whose heads and activation no tensor shows; {SAVE}."
        )
    _, width = shape_of(tensors, "blocks.0.attn.qkv.weight", 2)
    if width not in WIDTHS and "blocks.0.attn.q_norm.weight" not in tensors:
        raise UnsupportedError(
            f"{source} is a ViT {width} wide, a width that settles no number of heads, and no "
            f"tensor shows it; {SAVE}."
        )


def _swin_side(tensors: Mapping[str, Tensor], source: str) -> int:
    """The image size of a Swin, inferred from its windows.

    The mask of the shifted windows has one entry per window; if the file has none, the last stage's
    window must be that of a published size.
    """
    table = "attn.relative_position_bias_table"
    windows = [
        (math.isqrt(shape_of(tensors, name, 2)[0]) + 1) // 2
        for name in tensors
        if re.fullmatch(rf"layers\.\d+\.blocks\.0\.{table}", name)
    ]
    patch_size = shape_of(tensors, KERNEL, 4)[-1] if KERNEL in tensors else 0
    if MASK in tensors:
        windows_in_all, slots, _ = shape_of(tensors, MASK, 3)
        return math.isqrt(windows_in_all) * math.isqrt(slots) * patch_size
    if not windows or (patch_size, windows[-1]) not in SIDES:
        raise UnsupportedError(
            f"{source} is a Swin with windows of {windows} and patches of {patch_size} pixels, "
            f"and no published size of photos has them; {SAVE}."
        )
    return SIDES[patch_size, windows[-1]]
