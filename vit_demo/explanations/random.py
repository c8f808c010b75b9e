"""Seeded random noise: the control that every other method must beat."""

import torch
from jaxtyping import Int
from torch import Tensor

from vit_demo.errors import OptionError
from vit_demo.explanations.traced_pass import Heatmap, TracedPass

LARGEST_SEED = 2**32 - 1


def random(traced: TracedPass, target: Int[Tensor, " b"], *, seed: int = 0) -> Heatmap:
    """Uniform noise, independent of photo and class, normalized to a sum of one.

    Raises OptionError for a seed that is not an unsigned 32-bit integer.
    """
    del target
    if not 0 <= seed <= LARGEST_SEED:
        raise OptionError(f"seed={seed}, but it must be a number from 0 to {LARGEST_SEED}.")
    generator = torch.Generator().manual_seed(seed)
    rows, cols = traced.grid
    noise = torch.rand(len(traced.logits), 1, rows * cols, generator=generator)
    return traced.on_grid(noise.to(traced.logits))
