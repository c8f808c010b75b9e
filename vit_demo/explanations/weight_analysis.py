"""What the weights show without any photo: position embeddings and patch filters.

n   patches           rows, cols   the patch grid
d   token width       p, q         pixels of a patch, down and across
"""

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from vit_demo.errors import MethodError, OptionError
from vit_demo.models.base import Classifier

COLOURS = 3

# The number of filters in figure 7 of arXiv 2010.11929.
FILTERS = 28


def position_similarity(model: Classifier) -> Float[Tensor, "rows cols rows cols"]:
    """Similarity of the learned position embeddings of any two patches (arXiv 2010.11929, fig. 7).

    `[row, col]` is the map of one patch: the cosine similarity of its position embedding to all
    others. Raises MethodError for a model without a learned position embedding for each patch.
    """
    positions = model.patch_positions()
    if positions is None:
        raise MethodError(
            "This architecture has no learned position embedding for each patch, so there are none "
            "to compare; choose a ViT, DeiT or DINOv2 checkpoint."
        )
    return cosines(positions, model.config.grid)


def cosines(
    positions: Float[Tensor, "n d"], grid: tuple[int, int]
) -> Float[Tensor, "rows cols rows cols"]:
    """The cosine similarity of the vectors of any two positions of a grid."""
    rows, _ = grid
    units = rearrange(
        functional.normalize(positions, dim=-1), "(rows cols) d -> rows cols d", rows=rows
    )
    return einsum(units, units, "rows cols d, rows2 cols2 d -> rows cols rows2 cols2")


def patch_filters(model: Classifier, count: int = FILTERS) -> Float[Tensor, "count p q 3"]:
    """The principal components of the learned patch filters as RGB pictures.

    See `principal_pictures`. Raises MethodError for a model that does not cut color photos into
    patches, OptionError for a `count` out of range.
    """
    kernel = model.patch_kernel()
    if kernel is None or kernel.shape[1] != COLOURS:
        raise MethodError(
            "This architecture does not cut color photos into patches, so it has no such "
            "filters; choose a ViT, DeiT, DINOv2 or Swin checkpoint."
        )
    return principal_pictures(kernel, count)


def principal_pictures(
    kernel: Float[Tensor, "d 3 p q"], count: int = FILTERS
) -> Float[Tensor, "count p q 3"]:
    """The first principal components of the filters, largest first (arXiv 2010.11929, figure 7).

    Each is scaled to the range 0 to 1. The sign of a component is arbitrary, so its largest entry
    is made positive.
    """
    most = min(len(kernel), kernel[0].numel())
    if not 1 <= count <= most:
        raise OptionError(f"count={count}, but these filters have components 1 to {most}.")
    flat = rearrange(kernel, "d c p q -> d (p q c)")
    components = torch.linalg.svd(flat - flat.mean(dim=0), full_matrices=False).Vh[:count]
    strongest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    components = components * strongest.sign()
    low, high = components.amin(dim=1, keepdim=True), components.amax(dim=1, keepdim=True)
    pictures = (components - low) / (high - low)
    return rearrange(pictures, "count (p q c) -> count p q c", p=kernel.shape[2], c=COLOURS)
