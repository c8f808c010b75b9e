"""Occlusion: hide a part of the photo and see what it was worth.

b   batch            rows, cols   the patch grid
masks   blocks of patches, each hidden apart
"""

import math
from collections.abc import Mapping
from itertools import product
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from vit_demo.errors import OptionError
from vit_demo.explanations.masking import (
    Between,
    Grid,
    Masks,
    gaussian,
    logits_dropping,
    logits_replacing,
    mean_colour,
)
from vit_demo.explanations.traced_pass import Heatmap, TracedPass
from vit_demo.models.base import Subject, described
from vit_demo.predictions import scores

Hide = Literal["drop", "blur", "mean"]

# Pixels along one side of what is hidden when nothing is said: a usual patch.
USUAL_PATCH = 16
# Blocks at the model's own input size when nothing is said: each costs one forward pass.
MOST_BLOCKS = 64


def recommended_block(model: Subject) -> dict[str, int | str]:
    """What suits a model: drop tokens where that can be, and blocks that are not too many.

    A block is as wide as a usual patch, or wider where there would be more than MOST_BLOCKS.
    """
    architecture, config = described(model)
    block = 1
    if config is not None:
        block = max(1, USUAL_PATCH // config.cell)
        while _count(config.grid, block) > MOST_BLOCKS:
            block += 1
    return {"hide": "drop" if architecture.drops_tokens else "blur", "block": block}


def number_of_blocks(grid: Grid, options: Mapping[str, int | float | str]) -> int:
    """How many blocks tile a grid, and so how often the model is run."""
    return _count(grid, int(options["block"]))


def _count(grid: Grid, block: int) -> int:
    return math.ceil(grid[0] / block) * math.ceil(grid[1] / block)


def occlusion(
    traced: TracedPass,
    target: Int[Tensor, " b"],
    between: Between | None = None,
    *,
    hide: Hide = "drop",
    block: int = 1,
) -> Heatmap:
    """How far the class's probability, or number, falls when a block of patches is hidden: signed.

    The photo is tiled with blocks of `block` × `block` patches, and the model is run once for
    each (Zeiler & Fergus 2014, arXiv 1311.2901). Every patch of a block gets the block's change in
    probability: above zero where it spoke for the class, below where it spoke against it.

    `hide` drops the block's tokens, so that the others never meet them; or blurs its pixels until
    nothing of its size is left; or gives them the photo's mean colour. `between` is called after
    every batch of blocks with how many are done and how many there are; what it raises ends the
    work. Raises OptionError for
    blocks that leave nothing of the photo, and for dropping in a model that cannot.
    """
    rows, cols = traced.grid
    if not 1 <= block < max(rows, cols):
        raise OptionError(
            f"block={block}, but on {rows} × {cols} patches it is 1 to {max(rows, cols) - 1}."
        )
    problem = traced.model.problem
    likely = scores(traced.logits, problem)
    masks = blocks(traced.grid, block).to(likely.device)
    maps = []
    for photo, wanted in enumerate(target.tolist()):
        pixels = traced.pixels[photo : photo + 1]
        after = None if between is None else _of_all(between, photo, len(target))
        hidden = _logits(traced, pixels, masks, hide, block, after)
        without = scores(hidden, problem)[:, wanted]
        # The blocks tile the grid: every patch lies in one of them.
        maps.append((likely[photo, wanted] - without) @ masks.to(likely))
    return rearrange(torch.stack(maps), "b (rows cols) -> b rows cols", rows=rows)


def _of_all(between: Between, photo: int, photos: int) -> Between:
    """Progress within one photo as progress within all of them."""
    return lambda done, total: between(photo * total + done, photos * total)


def blocks(grid: Grid, block: int) -> Masks:
    """The blocks that tile a grid, row by row; at the far edges they are cut off."""
    rows, cols = grid
    masks = []
    for row, col in product(range(0, rows, block), range(0, cols, block)):
        mask = torch.zeros(rows, cols, dtype=torch.bool)
        mask[row : row + block, col : col + block] = True
        masks.append(mask.flatten())
    return torch.stack(masks)


def _logits(
    traced: TracedPass,
    pixels: Float[Tensor, "1 channels h w"],
    masks: Masks,
    hide: Hide,
    block: int,
    between: Between | None,
) -> Float[Tensor, "masks classes"]:
    """What the model says of one photo without each of some blocks."""
    model = traced.model
    if hide != "drop":
        sigma = model.config.cell * block / 2
        other = mean_colour(pixels) if hide == "mean" else gaussian(pixels, sigma)
        return logits_replacing(model, pixels, other, masks, traced.grid, between)
    if not model.drops_tokens:
        raise OptionError(
            "hide=drop, but this architecture needs its whole grid of tokens; use hide=blur."
        )
    return logits_dropping(model, pixels, masks, between)
