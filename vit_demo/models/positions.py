"""Learned positions, brought from one grid of patches to another.

n, m   tokens before and after      d   token width
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def resample_positions(
    positions: Float[Tensor, "1 n d"],
    prefix: int,
    old: tuple[int, int],
    new: tuple[int, int],
    antialias: bool = False,
) -> Float[Tensor, "1 m d"]:
    """Bring learned positions from one patch grid to another, bicubically (section 3.2).

    The first `prefix` positions belong to tokens that stand nowhere, and stay as they are.
    Without `antialias` this is what transformers does on the fly, with it what timm does.
    """
    if old == new:
        return positions
    rows, cols = old
    plane = rearrange(
        positions[:, prefix:], "1 (rows cols) d -> 1 d rows cols", rows=rows, cols=cols
    )
    plane = functional.interpolate(
        plane, size=new, mode="bicubic", align_corners=False, antialias=antialias
    )
    return torch.cat(
        [positions[:, :prefix], rearrange(plane, "1 d rows cols -> 1 (rows cols) d")], dim=1
    )
