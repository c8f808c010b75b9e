"""What is to be trained: the plan of a run, and the model and the reading of photos it asks for."""

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

# The shorter side before the centre crop, in sizes of that crop. The aspect is kept: photos of 4:3
# squeezed to a square were named worse by the same weights (0.948 against 0.957).
MARGIN = 15 / 14


@dataclass(frozen=True)
class Plan:
    """All that decides a run, as it is written down for going on with it.

    `weights` names the checkpoint to start from; "none" is a start from chance. `size` is the
    preset that gives such a model its shape, unless a checkpoint is at hand to be shaped like.
    `leave_out` is a class that the model is never to hear of, to see how it meets a stranger;
    `fold` says which of the shares of size `held_out` is kept for scoring, from 1. `licence` and
    `credit` are the photos', for the model card.
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
        """The plan as it can be written down and read again."""
        return asdict(self) | {"recipe": self.recipe.as_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Plan":
        """Read what `as_json` wrote; raises DataError for what another version wrote."""
        try:
            return cls(**{**content, "recipe": Recipe.from_json(content["recipe"])})
        except (TypeError, KeyError) as error:
            raise DataError(
                f"The run was planned by another version ({error}); start it again."
            ) from error


def shape(
    plan: Plan, start: ParsedCheckpoint | None, classes: int
) -> tuple[ViTConfig, Preprocessing]:
    """The model that is trained, and how it reads photos: the middle square of each.

    Layer scale stays while the model learns, and is folded only into what is written: with it, a
    step moves a channel in proportion to what the channel adds to the stream, which Adam, whose
    steps know no size of weights, cannot tell from folded ones. All else is made plain, so that
    every library can read it. Raises UnsupportedError for a start that is no ViT with a class
    token.
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
        named = start.architecture if start else plan.size
        raise UnsupportedError(
            f"{named} cannot be fine-tuned here; start from a ViT, DeiT or DINOv2 with a class "
            "token."
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
    """A model that knows what `start` knew, under a new head; the seed decides the rest."""
    with torch.random.fork_rng([]):
        torch.manual_seed(torch_seed(seed, "weights"))
        model = VisionTransformer(config)
    if start is not None and isinstance(start.config, ViTConfig):
        new = {name: value for name, value in model.state_dict().items() if "head" in name}
        old = adapt(start.tensors, start.config, config)
        load_state_dict_strict(model, {**old, **new}, "the starting checkpoint")
    return model
