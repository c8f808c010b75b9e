"""The tutorials' layout: a bare .pth beside class_indices.json, and no configuration.

The state dict bears timm's names, so it is read as timm's, with a configuration that says nothing:
everything is inferred from the tensors. Photos are prepared as the tutorials do.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from vit_demo.checkpoints import timm_format
from vit_demo.checkpoints.checkpoint import ParsedCheckpoint
from vit_demo.checkpoints.families import readable
from vit_demo.checkpoints.files import LABELS, read_json, unpickle_tensors
from vit_demo.checkpoints.values import shape_of
from vit_demo.errors import CheckpointError, UnsupportedError
from vit_demo.preprocess import Preprocessing

LAYOUT = "tutorial"
SUFFIX = ".pth"

# What training in parallel puts before every name.
PARALLEL = "module."

# The widths of well-known ViTs, of which all of timm's have the same number of heads.
WIDTHS = (192, 384, 512, 640, 768, 832, 896, 1024, 1152, 1280, 1408, 1664)
# What two published families do with another eps or activation, and only their names tell.
NAMELESS = {"norm_pre.weight": "CLIP", "patch_embed.norm.weight": "AIMv2"}
POOLED = ("cls_token", "fc_norm.weight")
# A published Swin's last window covers its whole last grid, and with patches of four pixels tells
# the side of its photos.
SIDES = {(4, 7): 224, (4, 12): 384}
KERNEL, MASK = "patch_embed.proj.weight", "layers.0.blocks.1.attn_mask"
SAVE = (
    "save it with timm's config.json, its architecture and model_args in it, and model.safetensors"
)

# A tensor of every model of the family, and the name that its smallest configuration goes by.
SIGNS = {
    "blocks.0.attn.qkv.weight": ("vit", "ViT"),
    "layers.0.blocks.0.attn.qkv.weight": ("swin_", "Swin"),
}

# Resize(256), CenterCrop(224), bilinear; mean and deviation ½.
CROP = 224 / 256


def find(folder: Path, source: str) -> Path | None:
    """The only .pth in a folder, None when there is none; CheckpointError when there are more."""
    found = sorted(folder.glob(f"*{SUFFIX}"))
    if len(found) > 1:
        raise CheckpointError(
            f"{source} holds {', '.join(path.name for path in found)}; name the one to read."
        )
    return found[0] if found else None


def read(path: Path, source: str) -> ParsedCheckpoint:
    """Read a .pth and the class_indices.json beside it. `source` names it in messages.

    Raises CheckpointError when it holds no tensors, UnsupportedError when they are of no family
    that is read here.
    """
    stored = unpickle_tensors(path, source)
    parallel = all(name.startswith(PARALLEL) for name in stored)
    tensors = {name.removeprefix(PARALLEL): t for name, t in stored.items()} if parallel else stored
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
    stored = timm_format.describe(stated, tensors, source)
    height, width = stored.config.image_size
    named = path.with_name(LABELS)
    return replace(
        stored,
        architecture=family,
        layout=LAYOUT,
        labels=_labels(read_json(named, source), len(stored.labels), source)
        if named.exists()
        else stored.labels,
        preprocessing=Preprocessing(
            resize=math.floor(height / CROP),
            crop=(height, width),
            rounds=True,
            resample=Image.Resampling.BILINEAR,
        ),
    )


def _check_vit(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise UnsupportedError where heads, eps or activation would be a guess."""
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
    """The side of the photos that a Swin was made for, which its windows tell.

    A mask of the shifted windows holds one for each of them; where the file has none, the last
    stage's window is that of a published size.
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


def _labels(stated: dict[str, Any], classes: int, source: str) -> tuple[str, ...]:
    """{"0": "daisy", …} in the order of its numbers."""
    numbers = [str(index) for index in range(classes)]
    if set(stated) != set(numbers):
        raise CheckpointError(
            f"{source}: {LABELS} numbers {len(stated)} classes and the model has {classes}; "
            'write {"0": "daisy", "1": …} with one entry for each.'
        )
    return tuple(str(stated[number]) for number in numbers)
