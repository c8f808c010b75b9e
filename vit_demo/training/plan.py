"""The plan of a training run, and the model and preprocessing that it specifies."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from PIL import Image

from vit_demo.checkpoints.checkpoint import ParsedCheckpoint, load_state_dict_strict
from vit_demo.checkpoints.families.vit import check_plain
from vit_demo.data.seeding import torch_seed
from vit_demo.errors import DataError, UnsupportedError
from vit_demo.models.vit import VisionTransformer, ViTConfig, preset
from vit_demo.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from vit_demo.training.adapt import adapt, as_plain
from vit_demo.training.recipe import Recipe

SCRATCH, NOT_STATED = "none", "not stated"

# The shorter side before the center crop, relative to the crop. The aspect ratio is kept: squeezing
# 4:3 photos to a square reduces the accuracy of the same weights from 0.957 to 0.948.
MARGIN = 15 / 14


@dataclass(frozen=True)
class Plan:
    """Everything that determines a run, stored so that the run can be resumed.

    `weights` is the checkpoint to start from, or "none" for random weights. `size` is the preset
    for the shape of a model with random weights, if no checkpoint gives the shape. `leave_out` is a
    class to exclude from training, to measure the confidence on an unknown class. `fold` selects
    the held-out fold of size `held_out`, numbered from 1. `licence` and `credit` of the photos are
    for the model card.
    """

    data: str
    weights: str
    recipe: Recipe
    size: str = "s16"
    image_size: int = 256
    patch_size: int = 16
    held_out: float = 0.1
    leave_out: str | None = None
    fold: int = 1
    command: str | None = None
    licence: str = NOT_STATED
    credit: str = NOT_STATED

    def as_json(self) -> dict[str, Any]:
        """The plan as JSON, which `from_json` reads."""
        return asdict(self) | {"recipe": self.recipe.as_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Plan":
        """Read the JSON of `as_json`; raises DataError for JSON of another version."""
        try:
            return cls(**{**content, "recipe": Recipe.from_json(content["recipe"])})
        except (TypeError, KeyError) as error:
            raise DataError(
                f"The run was started by another version ({error}); start it again."
            ) from error


def shape(
    plan: Plan, start: ParsedCheckpoint | None, classes: int
) -> tuple[ViTConfig, Preprocessing]:
    """The configuration of the trained model, and its preprocessing: the center square.

    Layer scale is kept during training and folded only when the checkpoint is saved. Adam's step
    size does not depend on the size of a weight, so with folded weights it would change small
    channels too much. Everything else is converted to a plain ViT that every library can load.
    Raises UnsupportedError for a start that is not a ViT with a class token.
    """
    side, recipe = plan.image_size, plan.recipe
    preprocessing = Preprocessing(
        resize=round(side * MARGIN),
        crop=(side, side),
        resample=Image.Resampling.BICUBIC,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    old = preset(plan.size) if start is None else start.config
    if not isinstance(old, ViTConfig) or not old.class_token:
        architecture = start.architecture if start else plan.size
        raise UnsupportedError(
            f"Fine-tuning does not support {architecture}; start from a ViT, DeiT or DINOv2 with a "
            "class token."
        )
    config = replace(
        as_plain(old),
        classes=classes,
        image_size=(side, side),
        patch_size=plan.patch_size,
        drop_path=recipe.drop_path,
        patch_dropout=recipe.patch_dropout,
    )
    check_plain(replace(config, layer_scale=None))
    return config, preprocessing


def fresh_model(config: ViTConfig, start: ParsedCheckpoint | None, seed: int) -> VisionTransformer:
    """A model with the encoder weights of `start`; the seed determines all other weights."""
    with torch.random.fork_rng([]):
        torch.manual_seed(torch_seed(seed, "weights"))
        model = VisionTransformer(config)
    if start is not None and isinstance(start.config, ViTConfig):
        new = {name: value for name, value in model.state_dict().items() if "head" in name}
        old = adapt(start.tensors, start.config, config)
        load_state_dict_strict(model, {**old, **new}, "the starting checkpoint")
    return model
