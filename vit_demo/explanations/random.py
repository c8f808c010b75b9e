"""Seeded noise: the control that every other map has to beat."""

import torch
from jaxtyping import Int
from torch import Tensor

from vit_demo.explanations.watched import Heatmap, Watched


def random(watched: Watched, target: Int[Tensor, " b"], *, seed: int = 0) -> Heatmap:
    """Uniform noise that knows neither photo nor class, brought to a sum of one."""
    del target
    generator = torch.Generator().manual_seed(seed)
    rows, cols = watched.grid
    noise = torch.rand(len(watched.logits), 1, rows * cols, generator=generator)
    return watched.on_grid(noise.to(watched.logits))
