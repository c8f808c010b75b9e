"""Occlusion: hide a part of the photo and see what it was worth.

b   batch            n            tokens            h, w         pixels down, across
d   token width      rows, cols   the patch grid    hidden       blocks tried at once
"""

import math
from collections.abc import Callable, Iterator
from itertools import groupby, product
from typing import Literal, Protocol, runtime_checkable

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from vit_demo.errors import MethodError, OptionError
from vit_demo.explanations.watched import Classifier, Heatmap, Watched
from vit_demo.flow import Trace

Hide = Literal["drop", "blur"]

# Tokens that go through the model at once: as fast as larger batches, and the memory stays flat.
TOKENS_AT_ONCE = 8192

# Pixels along one side of what is hidden when nothing is said: a usual patch.
USUAL_PATCH = 16


@runtime_checkable
class Celled(Protocol):
    """A configuration that says how many pixels a cell of the map is wide."""

    @property
    def cell(self) -> int: ...


@runtime_checkable
class Tiled(Protocol):
    """A model that cuts its input into square cells."""

    @property
    def config(self) -> Celled: ...


@runtime_checkable
class Droppable(Protocol):
    """A model whose layers take any number of tokens, so that some can be left out."""

    def embed(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b n d"]: ...

    def encode(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]: ...


def suited_occlusion(model: Classifier) -> dict[str, int | str]:
    """What suits a model: drop tokens where that can be, and hide about a usual patch at a time."""
    block = max(1, USUAL_PATCH // model.config.cell) if isinstance(model, Tiled) else 1
    return {"hide": "drop" if isinstance(model, Droppable) else "blur", "block": block}


def occlusion(
    watched: Watched, target: Int[Tensor, " b"], *, hide: Hide = "drop", block: int = 1
) -> Heatmap:
    """How far the class's probability falls when a block of patches is hidden: signed.

    The photo is tiled with blocks of `block` × `block` patches, and the model is run once for
    each (Zeiler & Fergus 2014, arXiv 1311.2901). Every patch of a block gets the block's change in
    probability: above zero where it spoke for the class, below where it spoke against it.

    `hide` drops the block's tokens, so that the others never meet them, or blurs its pixels until
    nothing of its size is left. Raises OptionError for blocks that leave nothing of the photo,
    and for dropping in a model that cannot.
    """
    rows, cols = watched.grid
    if not 1 <= block < max(rows, cols):
        raise OptionError(
            f"block={block}, but on {rows} × {cols} patches it is 1 to {max(rows, cols) - 1}."
        )
    likely = watched.logits.softmax(dim=-1)
    heatmap = torch.zeros(len(likely), rows * cols).to(likely)
    for photo, wanted in enumerate(target.tolist()):
        logits_without = _hider(watched, photo, hide, block)
        for hidden in blocks_at_once(watched.grid, block):
            without = logits_without(hidden.to(likely.device)).softmax(dim=-1)[:, wanted]
            falls = repeat(likely[photo, wanted] - without, "hidden -> hidden p", p=hidden.shape[1])
            heatmap[photo, hidden] = falls
    return rearrange(heatmap, "b (rows cols) -> b rows cols", rows=rows)


def blocks_at_once(grid: tuple[int, int], block: int) -> Iterator[Int[Tensor, "hidden patches"]]:
    """The patches of every block that tiles a grid, a few blocks of equal size at a time.

    At the far edges blocks are cut off.
    """
    rows, cols = grid
    numbers = torch.arange(rows * cols).reshape(grid)
    corners = product(range(0, rows, block), range(0, cols, block))
    cut = [numbers[row : row + block, col : col + block].flatten() for row, col in corners]
    for _, equal in groupby(sorted(cut, key=len), key=len):
        yield from torch.stack(list(equal)).split(max(1, TOKENS_AT_ONCE // (rows * cols)))


def _hider(
    watched: Watched, photo: int, hide: Hide, block: int
) -> Callable[[Int[Tensor, "hidden patches"]], Float[Tensor, "hidden classes"]]:
    """What the model says of one photo without some blocks of its patches."""
    model, pixels, grid = watched.model, watched.pixels[photo : photo + 1], watched.grid
    if hide == "drop":
        if not isinstance(model, Droppable):
            raise OptionError(
                "hide=drop, but this architecture needs its whole grid of tokens; use hide=blur."
            )
        tokens = model.embed(pixels)
        return lambda hidden: model.encode(dropped(tokens, hidden, math.prod(grid)))
    if not isinstance(model, Tiled):
        raise MethodError(
            "'occlusion' does not fit this checkpoint: it does not say how large its patches are."
        )
    cell, size = model.config.cell, (pixels.shape[2], pixels.shape[3])
    blurred = gaussian(pixels, sigma=cell * block / 2)
    return lambda hidden: model(torch.where(covered(hidden, grid, cell, size), blurred, pixels))


def dropped(
    tokens: Float[Tensor, "1 n d"], hidden: Int[Tensor, "hidden patches"], patches: int
) -> Float[Tensor, "hidden kept d"]:
    """The tokens without each block of patches; prefix tokens, which stand first, all stay."""
    count = tokens.shape[1]
    kept = torch.ones(len(hidden), count, dtype=torch.bool, device=tokens.device)
    kept.scatter_(1, hidden + count - patches, value=False)
    every = repeat(tokens, "1 n d -> hidden n d", hidden=len(hidden))
    return rearrange(every[kept], "(hidden kept) d -> hidden kept d", hidden=len(hidden))


def covered(
    hidden: Int[Tensor, "hidden patches"], grid: tuple[int, int], cell: int, size: tuple[int, int]
) -> Bool[Tensor, "hidden 1 h w"]:
    """Which pixels of a picture of `size` lie in each block."""
    mask = torch.zeros(len(hidden), math.prod(grid), dtype=torch.bool, device=hidden.device)
    mask.scatter_(1, hidden, value=True)
    pattern = "hidden (rows cols) -> hidden 1 (rows p) (cols q)"
    pixels = repeat(mask, pattern, rows=grid[0], p=cell, q=cell)
    # A picture that is no whole number of cells reaches beyond them, or they beyond the picture.
    return functional.pad(pixels, (0, size[1] - pixels.shape[3], 0, size[0] - pixels.shape[2]))


def gaussian(
    pixels: Float[Tensor, "b channels h w"], sigma: float
) -> Float[Tensor, "b channels h w"]:
    """Blur with a Gaussian of `sigma` pixels, cut off at three; edges are continued.

    With half a block's side as sigma, a wave as long as the block keeps exp(−π²/2), under 1 %.
    """
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, device=pixels.device)
    bell = torch.exp(-(offsets**2) / (2 * sigma**2)).to(pixels)
    bell = (bell / bell.sum()).expand(pixels.shape[1], 1, -1)
    padded = functional.pad(pixels, (reach,) * 4, mode="replicate")
    across = functional.conv2d(padded, bell[:, :, None], groups=pixels.shape[1])
    return functional.conv2d(across, bell[:, :, :, None], groups=pixels.shape[1])
