"""Occlusion: mask a part of the photo and measure the change in probability.

b   batch            rows, cols   the patch grid
masks   blocks of patches, each masked in a pass of its own
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

# Default size of a block in pixels: a common patch size.
USUAL_PATCH = 16
# Maximum number of blocks by default, at the model's own input size; each costs a forward pass.
MAX_BLOCKS = 64


def recommended_block(model: Subject) -> dict[str, int | str]:
    """Default options for a model: drop tokens if it can, and limit the number of blocks.

    A block is about USUAL_PATCH pixels wide, or wider to have at most MAX_BLOCKS blocks.
    """
    architecture, config = described(model)
    block = 1
    if config is not None:
        block = max(1, USUAL_PATCH // config.cell)
        while _count(config.grid, block) > MAX_BLOCKS:
            block += 1
    return {"hide": "drop" if architecture.drops_tokens else "blur", "block": block}


def number_of_blocks(grid: Grid, options: Mapping[str, int | float | str]) -> int:
    """The number of blocks that tile a grid, which is the number of forward passes."""
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
    """The decrease in the class's probability, or value, when a block is masked; signed.

    The photo is tiled with blocks of `block` × `block` patches, and the model runs once for each
    (Zeiler & Fergus 2014, arXiv 1311.2901). Every patch of a block gets the block's decrease in
    probability: positive if the block supports the class, negative if it speaks against it.

    `hide` selects the masking: "drop" removes the block's tokens from the sequence, "blur" blurs
    its pixels so strongly that no detail remains, "mean" fills them with the photo's mean color.
    `between` is called after every batch with the number of blocks done and their total; an
    exception that it raises stops the work. Raises OptionError for a block that covers the whole
    photo, and for "drop" with a model that cannot drop tokens.
    """
    rows, cols = traced.grid
    if not 1 <= block < max(rows, cols):
        raise OptionError(
            f"block={block}, but on {rows} × {cols} patches it must be 1 to {max(rows, cols) - 1}."
        )
    problem = traced.model.problem
    unmasked = scores(traced.logits, problem)
    masks = blocks(traced.grid, block).to(unmasked.device)
    maps = []
    for photo, index in enumerate(target.tolist()):
        pixels = traced.pixels[photo : photo + 1]
        after = None if between is None else _of_batch(between, photo, len(target))
        logits = _logits(traced, pixels, masks, hide, block, after)
        masked = scores(logits, problem)[:, index]
        # The blocks tile the grid, so every patch is in exactly one of them.
        maps.append((unmasked[photo, index] - masked) @ masks.to(unmasked))
    return rearrange(torch.stack(maps), "b (rows cols) -> b rows cols", rows=rows)


def _of_batch(between: Between, photo: int, photos: int) -> Between:
    """Convert the progress on one photo to the progress on the whole batch."""
    return lambda done, total: between(photo * total + done, photos * total)


def blocks(grid: Grid, block: int) -> Masks:
    """The blocks that tile a grid, row by row; at the right and bottom edges they are smaller."""
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
    """The logits for one photo with each block masked."""
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
