"""Learning rates of the parameter groups, their schedule, and the moving average of the weights."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vit_demo.models.vit import VisionTransformer
from vit_demo.training.recipe import Recipe, Stage

Average = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]


def running_mean(keep: float) -> Average:
    """The update of an exponential moving average of weights; its decay is lower at first."""

    def update(means: Sequence[Tensor], values: Sequence[Tensor], steps: Tensor | int) -> None:
        decay = min(keep, (1 + int(steps)) / (10 + int(steps)))
        with torch.no_grad():
            for mean, value in zip(means, values, strict=True):
                mean.lerp_(value, 1 - decay)

    return update


def parameter_groups(
    model: VisionTransformer, recipe: Recipe, stage: Stage
) -> list[dict[str, Any]]:
    """Layer-wise learning rates (arXiv 2106.08254); no weight decay on vectors or positions.

    Only trainable parameters are in a group. While only the head is trained, it has its own rate.
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
    """Factor on the learning rate: linear warm-up, then cosine decay to zero."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return (1 + math.cos(math.pi * min(progress, 1.0))) / 2
