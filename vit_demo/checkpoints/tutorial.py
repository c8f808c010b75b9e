"""The tutorials' layout: a bare .pth beside class_indices.json, and no configuration.

The state dict bears timm's names, so it is read as timm's, with a configuration that says nothing:
everything is inferred from the tensors. Photos are prepared as the tutorials do.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from vit_demo.checkpoints import timm
from vit_demo.checkpoints.files import LABELS, read_json, unpickle_tensors
from vit_demo.checkpoints.stored import Stored
from vit_demo.errors import CheckpointError, UnsupportedError
from vit_demo.preprocess import Preprocessing

LAYOUT = "tutorial"
SUFFIX = ".pth"

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


def read(path: Path, source: str) -> Stored:
    """Read a .pth and the class_indices.json beside it. `source` names it in messages.

    Raises CheckpointError when it holds no tensors, UnsupportedError when they are of no family
    that is read here.
    """
    tensors = unpickle_tensors(path, source)
    sign = next((name for name in SIGNS if name in tensors), None)
    if sign is None:
        raise UnsupportedError(
            f"{source} holds tensors of no ViT or Swin with timm's names (blocks.0.attn.qkv, …); "
            "save it with config.json in the transformers or timm layout."
        )
    architecture, family = SIGNS[sign]
    stored = timm.describe({"architecture": architecture}, tensors, source)
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


def _labels(stated: dict[str, Any], classes: int, source: str) -> tuple[str, ...]:
    """{"0": "daisy", …} in the order of its numbers."""
    numbers = [str(index) for index in range(classes)]
    if set(stated) != set(numbers):
        raise CheckpointError(
            f"{source}: {LABELS} numbers {len(stated)} classes and the model has {classes}; "
            'write {"0": "daisy", "1": …} with one entry for each.'
        )
    return tuple(str(stated[number]) for number in numbers)
