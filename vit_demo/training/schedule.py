"""Who learns how fast and when, and the running mean of what was learnt."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vit_demo.models.vit import VisionTransformer
from vit_demo.training.recipe import Recipe, Stage

Average = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]


def running_mean(keep: float) -> Average:
    """The update of a running mean of weights; it forgets faster at first, as it knows little."""

    def update(means: Sequence[Tensor], values: Sequence[Tensor], seen: Tensor | int) -> None:
        share = min(keep, (1 + int(seen)) / (10 + int(seen)))
        with torch.no_grad():
            for mean, value in zip(means, values, strict=True):
                mean.lerp_(value, 1 - share)

    return update


def parameter_groups(
    model: VisionTransformer, recipe: Recipe, stage: Stage
) -> list[dict[str, Any]]:
    """Layer-wise learning rates (arXiv 2106.08254, appendix); no decay on vectors or positions.

    Only what learns is in a group; alone, the head has a rate of its own.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and not name.endswith(("_token", "pos_embed"))
            groups.setdefault((_rate(name, model, recipe, stage), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate,
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (rate, decays), parameters in groups.items()
    ]


def _rate(name: str, model: VisionTransformer, recipe: Recipe, stage: Stage) -> float:
    if stage.frozen:
        return recipe.head_learning_rate
    depth = model.config.depth
    match name.split("."):
        case ["head" | "head_dist" | "pre_logits", *_]:
            factor = recipe.head_factor
        case ["blocks", number, *_]:
            factor = recipe.layer_decay ** (depth - 1 - int(number))
        case ["norm", *_]:
            factor = 1.0
        case _:
            factor = recipe.layer_decay**depth
    return recipe.learning_rate * factor


def warm_up_then_cosine(step: int, warm_up: int, steps: int) -> float:
    """Factor on the learning rate: a straight rise, then half a cosine down to zero."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return (1 + math.cos(math.pi * min(progress, 1.0))) / 2
