"""Seeded noise: the control that every other map has to beat."""

import torch
from jaxtyping import Int
from torch import Tensor

from vit_demo.errors import OptionError
from vit_demo.explanations.traced_pass import Heatmap, TracedPass

LARGEST_SEED = 2**32 - 1


def random(traced: TracedPass, target: Int[Tensor, " b"], *, seed: int = 0) -> Heatmap:
    """Uniform noise that knows neither photo nor class, brought to a sum of one.

    Raises OptionError for a seed that is no 32-bit number.
    """
    del target
    if not 0 <= seed <= LARGEST_SEED:
        raise OptionError(f"seed={seed}, but a seed is a number from 0 to {LARGEST_SEED}.")
    generator = torch.Generator().manual_seed(seed)
    rows, cols = traced.grid
    noise = torch.rand(len(traced.logits), 1, rows * cols, generator=generator)
    return traced.on_grid(noise.to(traced.logits))
