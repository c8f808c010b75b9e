"""Hiding parts of a photo from a model: tokens are left out, or pixels replaced.

b   batch            n      tokens           rows, cols   the patch grid
d   token width      h, w   pixels down, across
masks   sets of patches to hide, each tried apart
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
# Called after every batch of masks: how many masks are done, and how many there are.
Between = Callable[[int, int], None]

# Tokens that go through the model at once: faster than larger batches, which leave the processor's
# caches, and the memory stays flat.
TOKENS_AT_ONCE = 2048


def logits_dropping(
    model: Classifier,
    pixels: Float[Tensor, "1 channels h w"],
    masks: Masks,
    between: Between | None = None,
    tokens_at_once: int | None = None,
) -> Float[Tensor, "masks classes"]:
    """What the model says of a photo when the patches of each mask never enter it.

    Only for a model that `drops_tokens`. Prefix tokens, which stand first, all stay. Only masks
    that hide equally many patches fit into one batch, of about `tokens_at_once` tokens. `between`
    is called after each batch; what it raises ends the work.
    """
    tokens = model.embed(pixels)
    kept = functional.pad(~masks, (tokens.shape[1] - masks.shape[1], 0), value=True)
    counts = kept.sum(dim=1)
    logits: Float[Tensor, "masks classes"] | None = None
    done = 0
    for count in counts.unique().tolist():
        for places in _at_once((counts == count).nonzero()[:, 0], count, tokens_at_once):
            every = repeat(tokens, "1 n d -> masks n d", masks=len(places))
            left = rearrange(every[kept[places]], "(masks n) d -> masks n d", masks=len(places))
            said = model.encode(left)
            logits = said.new_empty(len(masks), said.shape[1]) if logits is None else logits
            logits[places] = said
            done += len(places)
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
    tokens_at_once: int | None = None,
) -> Float[Tensor, "masks classes"]:
    """What the model says of a photo when the pixels of each mask are those of `other`.

    A batch has about `tokens_at_once` tokens. `between` is called after each; what it raises ends
    the work.
    """
    cell, size = model.config.cell, (pixels.shape[2], pixels.shape[3])
    said = []
    for places in _at_once(torch.arange(len(masks)), math.prod(grid), tokens_at_once):
        said.append(model(torch.where(covered(masks[places], grid, cell, size), other, pixels)))
        if between is not None:
            between(int(places[-1]) + 1, len(masks))
    return torch.cat(said)


def covered(
    masks: Masks, grid: Grid, cell: int, size: tuple[int, int]
) -> Bool[Tensor, "masks 1 h w"]:
    """Which pixels of a picture of `size` lie in the patches of each mask."""
    pattern = "masks (rows cols) -> masks 1 (rows p) (cols q)"
    pixels = repeat(masks, pattern, rows=grid[0], p=cell, q=cell)
    # A picture that is no whole number of cells reaches beyond them, or they beyond the picture.
    return functional.pad(pixels, (0, size[1] - pixels.shape[3], 0, size[0] - pixels.shape[2]))


def mean_colour(pixels: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b channels h w"]:
    """Each photo's own mean colour, all over."""
    return pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels)


def gaussian(
    pixels: Float[Tensor, "b channels h w"], sigma: float, reach: int | None = None
) -> Float[Tensor, "b channels h w"]:
    """Blur with a Gaussian of `sigma` pixels, cut off at `reach` (at three sigma, if left out).

    Edges are continued. With half a block's side as sigma, a wave as long as the block keeps
    exp(−π²/2), under 1 %.
    """
    reach = math.ceil(3 * sigma) if reach is None else reach
    offsets = torch.arange(-reach, reach + 1, device=pixels.device)
    bell = torch.exp(-(offsets**2) / (2 * sigma**2)).to(pixels)
    bell = (bell / bell.sum()).expand(pixels.shape[1], 1, -1)
    padded = functional.pad(pixels, (reach,) * 4, mode="replicate")
    across = functional.conv2d(padded, bell[:, :, None], groups=pixels.shape[1])
    return functional.conv2d(across, bell[:, :, :, None], groups=pixels.shape[1])


def _at_once(
    places: Int[Tensor, " masks"], tokens: int, most: int | None
) -> Iterator[Int[Tensor, " some"]]:
    """A few masks at a time, of so many tokens each."""
    most = TOKENS_AT_ONCE if most is None else most
    yield from places.split(max(1, most // max(1, tokens)))
