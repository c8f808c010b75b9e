"""A whole training run: photos and starting weights in, a checkpoint folder out."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from PIL import Image

from vit_demo.checkpoints import transformers
from vit_demo.checkpoints.fit import fit
from vit_demo.checkpoints.stored import Stored
from vit_demo.checkpoints.transformers.vit import check_plain
from vit_demo.errors import UnsupportedError
from vit_demo.models.vit import VisionTransformer, ViTConfig
from vit_demo.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from vit_demo.training.adapt import adapt
from vit_demo.training.data import scan, split
from vit_demo.training.finetune import Recipe, Step, finetune

LOG = "training.json"

# The shorter side before the centre crop, in sizes of that crop. The aspect is kept: photos of 4:3
# squeezed to a square were named worse by the same weights (0.948 against 0.957).
MARGIN = 15 / 14


def train_folder(
    data: Path,
    start: Stored,
    out: Path,
    image_size: int,
    patch_size: int,
    held_out: float,
    recipe: Recipe,
    report: Callable[[Step], None],
) -> float:
    """Fine-tune `start` on `data` and write a checkpoint and its log to `out`.

    The folder holds the best epoch so far, chosen on the held-out photos, which flatters the
    returned accuracy a little. The model is made plain (no layer scale) and reads the middle
    square of a photo, at `image_size` pixels in patches of `patch_size`.
    """
    if not isinstance(start.config, ViTConfig) or not start.config.class_token:
        raise UnsupportedError(
            f"{start.architecture} cannot be fine-tuned here; start from a ViT or DINOv2 with a "
            "class token."
        )
    photos = scan(data)
    training, kept = split(photos, held_out, recipe.seed)
    preprocessing = Preprocessing(
        resize=round(image_size * MARGIN),
        crop=(image_size, image_size),
        resample=Image.Resampling.BICUBIC,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    config = replace(
        start.config,
        classes=len(photos.labels),
        image_size=(image_size, image_size),
        patch_size=patch_size,
        layer_scale=None,
        representation=None,
        pooling="class",
        antialias=False,
    )
    check_plain(config)
    torch.manual_seed(recipe.seed)
    model = VisionTransformer(config)
    fresh = {name: value for name, value in model.state_dict().items() if name.startswith("head.")}
    fit(model, {**adapt(start.tensors, start.config, config), **fresh}, "the starting checkpoint")

    epochs: list[dict[str, float]] = []
    best = 0.0
    begun = time.monotonic()
    for step in finetune(model, training, kept, preprocessing, recipe):
        report(step)
        if step.accuracy is None:
            continue
        epochs.append({"epoch": step.epoch, "loss": step.loss, "accuracy": step.accuracy})
        if len(epochs) == 1 or step.accuracy > best:
            best = step.accuracy
            weights = model.state_dict()
            transformers.write(out, config, weights, photos.labels, preprocessing, torch.float16)
        summary = {
            "recipe": asdict(recipe),
            "photos": {"training": len(training), "held_out": len(kept)},
            "epochs": epochs,
            "accuracy": best,
            "minutes": round((time.monotonic() - begun) / 60, 1),
            "held_out_photos": [f"{path.parent.name}/{path.name}" for path, _ in kept],
        }
        (out / LOG).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return best
