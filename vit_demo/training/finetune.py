"""Fine-tune a Vision Transformer on a folder of photos."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from vit_demo.errors import ConfigError
from vit_demo.models.vit import VisionTransformer
from vit_demo.preprocess import Preprocessing
from vit_demo.training.data import Augmentation, Photos, Sample


@dataclass(frozen=True)
class Recipe:
    """How to train. The learning rate is that of the last encoder block.

    Each block further from the head learns `layer_decay` times as fast as the one after it, the
    new head `head_factor` times as fast as the last block.
    """

    epochs: int = 6
    batch_size: int = 32
    learning_rate: float = 1.5e-4
    layer_decay: float = 0.75
    head_factor: float = 3.0
    weight_decay: float = 0.05
    warm_up_steps: int = 60
    label_smoothing: float = 0.1
    gradient_clip: float = 1.0
    bfloat16: bool = True
    workers: int = 1
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "layer_decay", "head_factor"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}={getattr(self, name)}, but it must be above 0.")


@dataclass(frozen=True)
class Step:
    """One training step, as reported while it runs.

    After a whole epoch `accuracy` is set, and `loss` is the mean over the epoch.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    accuracy: float | None = None


def finetune(
    model: VisionTransformer,
    training: Sequence[Sample],
    held_out: Sequence[Sample],
    preprocessing: Preprocessing,
    recipe: Recipe,
) -> Iterator[Step]:
    """Train `model` in place, step by step, and score it on the held-out photos every epoch."""
    torch.manual_seed(recipe.seed)
    loader = DataLoader(
        Photos(training, preprocessing, recipe.augmentation),
        batch_size=recipe.batch_size,
        shuffle=True,
        drop_last=len(training) > recipe.batch_size,
        num_workers=recipe.workers,
        persistent_workers=recipe.workers > 0,
        generator=torch.Generator().manual_seed(recipe.seed),
    )
    steps = recipe.epochs * len(loader)
    optimiser = torch.optim.AdamW(parameter_groups(model, recipe), weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: warm_up_then_cosine(step, recipe.warm_up_steps, steps)
    )
    done = 0
    for epoch in range(1, recipe.epochs + 1):
        losses = []
        for pixels, labels in loader:
            losses.append(_step(model, pixels, labels, optimiser, recipe))
            schedule.step()
            done += 1
            yield Step(done, steps, epoch, losses[-1])
        score = accuracy(model, held_out, preprocessing, recipe)
        yield Step(done, steps, epoch, fmean(losses), score)


def _step(
    model: VisionTransformer,
    pixels: Float[Tensor, "b 3 h w"],
    labels: Int[Tensor, " b"],
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
) -> float:
    model.train()
    optimiser.zero_grad()
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=recipe.bfloat16):
        logits = model(pixels)
    loss = functional.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
    optimiser.step()
    return loss.item()


def accuracy(
    model: VisionTransformer,
    samples: Sequence[Sample],
    preprocessing: Preprocessing,
    recipe: Recipe,
) -> float:
    """Share of the samples that are named correctly, in float32, as in use."""
    model.eval()
    loader = DataLoader(Photos(samples, preprocessing), batch_size=recipe.batch_size)
    with torch.inference_mode():
        right = sum(
            int((model(pixels).argmax(dim=-1) == labels).sum()) for pixels, labels in loader
        )
    return right / len(samples)


def parameter_groups(model: VisionTransformer, recipe: Recipe) -> list[dict[str, object]]:
    """Layer-wise learning rates (arXiv 2106.08254, appendix); no decay on vectors or positions."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 and not name.endswith(("_token", "pos_embed"))
        groups.setdefault((_rate_factor(name, model, recipe), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": recipe.learning_rate * factor,
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (factor, decays), parameters in groups.items()
    ]


def _rate_factor(name: str, model: VisionTransformer, recipe: Recipe) -> float:
    depth = model.config.depth
    match name.split("."):
        case ["head" | "head_dist" | "pre_logits", *_]:
            return recipe.head_factor
        case ["blocks", number, *_]:
            return recipe.layer_decay ** (depth - 1 - int(number))
        case ["norm", *_]:
            return 1.0
    return recipe.layer_decay**depth


def warm_up_then_cosine(step: int, warm_up: int, steps: int) -> float:
    """Factor on the learning rate: a straight rise, then half a cosine down to zero."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return (1 + math.cos(math.pi * min(progress, 1.0))) / 2
