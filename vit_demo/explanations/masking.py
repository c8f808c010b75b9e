"""Mask parts of a photo: drop their tokens, or replace their pixels.

b   batch            n      tokens           rows, cols   the patch grid
d   token width      h, w   pixels down, across
masks   sets of patches to mask, each in a pass of its own
"""

import math
from collections.abc import Callable, Iterator

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from vit_demo.models.base import Classifier

Grid = tuple[int, int]
Masks = Bool[Tensor, "masks patches"]
# Called after every batch of masks, with the number of masks done and their total number.
Between = Callable[[int, int], None]

# Tokens per batch. Larger batches are slower because they do not fit into the CPU caches, and the
# memory stays bounded.
TOKENS_PER_BATCH = 2048


def logits_dropping(
    model: Classifier,
    pixels: Float[Tensor, "1 channels h w"],
    masks: Masks,
    between: Between | None = None,
    tokens_per_batch: int | None = None,
) -> Float[Tensor, "masks classes"]:
    """The logits for a photo with the patch tokens of each mask dropped.

    Only for a model with `drops_tokens`. Prefix tokens, which come first, are kept. Each batch
    contains masks with equal numbers of patches, of about `tokens_per_batch` tokens together.
    `between` is called after each batch; an exception that it raises stops the work.
    """
    tokens = model.embed(pixels)
    kept = functional.pad(~masks, (tokens.shape[1] - masks.shape[1], 0), value=True)
    counts = kept.sum(dim=1)
    logits: Float[Tensor, "masks classes"] | None = None
    done = 0
    for count in counts.unique().tolist():
        for batch in _batches((counts == count).nonzero()[:, 0], count, tokens_per_batch):
            copies = repeat(tokens, "1 n d -> masks n d", masks=len(batch))
            remaining = rearrange(copies[kept[batch]], "(masks n) d -> masks n d", masks=len(batch))
            output = model.encode(remaining)
            logits = output.new_empty(len(masks), output.shape[1]) if logits is None else logits
            logits[batch] = output
            done += len(batch)
            if between is not None:
                between(done, len(masks))
    return torch.empty(0, 0) if logits is None else logits


def logits_replacing(
    model: Classifier,
    pixels: Float[Tensor, "1 channels h w"],
    other: Float[Tensor, "1 channels h w"],
    masks: Masks,
    grid: Grid,
    between: Between | None = None,
    tokens_per_batch: int | None = None,
) -> Float[Tensor, "masks classes"]:
    """The logits for a photo with the pixels of each mask replaced by those of `other`.

    A batch has about `tokens_per_batch` tokens. `between` is called after each batch; an exception
    that it raises stops the work.
    """
    cell, size = model.config.cell, (pixels.shape[2], pixels.shape[3])
    logits = []
    for batch in _batches(torch.arange(len(masks)), math.prod(grid), tokens_per_batch):
        logits.append(model(torch.where(covered(masks[batch], grid, cell, size), other, pixels)))
        if between is not None:
            between(int(batch[-1]) + 1, len(masks))
    return torch.cat(logits)


def covered(
    masks: Masks, grid: Grid, cell: int, size: tuple[int, int]
) -> Bool[Tensor, "masks 1 h w"]:
    """Which pixels of a picture of `size` are inside the patches of each mask."""
    pattern = "masks (rows cols) -> masks 1 (rows p) (cols q)"
    pixels = repeat(masks, pattern, rows=grid[0], p=cell, q=cell)
    # The picture can extend beyond the cells, or the cells beyond the picture: pad or crop.
    return functional.pad(pixels, (0, size[1] - pixels.shape[3], 0, size[0] - pixels.shape[2]))


def mean_colour(pixels: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b channels h w"]:
    """A picture filled with each photo's mean color."""
    return pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels)


def gaussian(
    pixels: Float[Tensor, "b channels h w"], sigma: float, reach: int | None = None
) -> Float[Tensor, "b channels h w"]:
    """Blur with a Gaussian of `sigma` pixels, truncated at `reach` pixels (default three sigma).

    Border pixels are replicated. If sigma is half the side of a block, a sine wave with the period
    of the block keeps exp(−π²/2) of its amplitude, less than 1 %.
    """
    reach = math.ceil(3 * sigma) if reach is None else reach
    offsets = torch.arange(-reach, reach + 1, device=pixels.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2)).to(pixels)
    kernel = (kernel / kernel.sum()).expand(pixels.shape[1], 1, -1)
    padded = functional.pad(pixels, (reach,) * 4, mode="replicate")
    horizontal = functional.conv2d(padded, kernel[:, :, None], groups=pixels.shape[1])
    return functional.conv2d(horizontal, kernel[:, :, :, None], groups=pixels.shape[1])


def _batches(
    indices: Int[Tensor, " masks"], tokens: int, most: int | None
) -> Iterator[Int[Tensor, " some"]]:
    """Split mask indices into batches of `most` tokens, if each mask has `tokens` tokens."""
    most = TOKENS_PER_BATCH if most is None else most
    yield from indices.split(max(1, most // max(1, tokens)))
