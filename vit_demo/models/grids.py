"""Flows of prefix tokens, read-outs, pooling, strides and resizing: which tokens mix into which.

b   batch            n          tokens of a grid, row by row
c   channels         h, w       input height and width; rows, cols after the operation
                     children   input tokens that are mixed into one output token
"""

import math
from collections.abc import Mapping, Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from vit_demo.trace import PADDING, LinearMixing, Trace

Grid = tuple[int, int]


def prefix_sharing(prefix: int, patches: int, device: torch.device) -> LinearMixing:
    """The flow of prepending `prefix` learned tokens, which have no children, to the patches."""
    children = torch.arange(-prefix, patches, device=device).clamp(min=PADDING)
    share = (children != PADDING).float()
    return LinearMixing(children[:, None], share[:, None], tokens=patches)


def token_sharing(
    read: Sequence[int] | Mapping[int, float], tokens: int, device: torch.device
) -> LinearMixing:
    """The flow of a read-out with one output: the mean of the tokens `read`, or a weighted mean."""
    shares = list(read.values()) if isinstance(read, Mapping) else [1 / len(read)] * len(read)
    index = torch.tensor([list(read)], device=device)
    return LinearMixing(index, torch.tensor([shares], device=device), tokens=tokens)


def square_sharing(
    grid: Grid, side: int, stride: int, start: int, device: torch.device
) -> LinearMixing:
    """The flow of average pooling: every output is the mean of a square of inputs.

    Squares are `stride` apart, and the first begins at (`start`, `start`). Places outside the grid
    are not counted.
    """
    rows, cols = grid
    down = _spans(rows, side, stride, start)[:, None, :, None]
    across = _spans(cols, side, stride, start)[None, :, None, :]
    inside = (down != PADDING) & (across != PADDING)
    index = torch.where(inside, down * cols + across, PADDING)
    index = rearrange(index, "rows cols p q -> (rows cols) (p q)").to(device)
    share = (index != PADDING).float()
    return LinearMixing(index, share / share.sum(dim=1, keepdim=True), tokens=rows * cols)


def _spans(length: int, side: int, stride: int, start: int) -> Int[Tensor, "out side"]:
    first = start + stride * torch.arange(math.ceil(length / stride))
    span = first[:, None] + torch.arange(side)
    return torch.where((span >= 0) & (span < length), span, PADDING)


def resize_sharing(
    old: Grid, new: Grid, device: torch.device, corners: bool = False
) -> LinearMixing:
    """The flow of bilinear resizing: every output is a weighted mean of at most four inputs."""
    row_share, rows = _bilinear(old[0], new[0], corners)
    col_share, cols = _bilinear(old[1], new[1], corners)
    index = rows[:, None, :, None] * old[1] + cols[None, :, None, :]
    share = row_share[:, None, :, None] * col_share[None, :, None, :]
    return LinearMixing(
        rearrange(index, "rows cols p q -> (rows cols) (p q)").to(device),
        rearrange(share, "rows cols p q -> (rows cols) (p q)").to(device),
        tokens=old[0] * old[1],
    )


def _bilinear(
    old: int, new: int, corners: bool
) -> tuple[Float[Tensor, "new children"], Int[Tensor, "new children"]]:
    """Weights and indices of the two neighbors along one axis, computed by resizing an identity."""
    neighbors = 2
    resized = functional.interpolate(
        torch.eye(old)[None], size=new, mode="linear", align_corners=corners
    )[0]
    shares, numbers = resized.T.topk(min(neighbors, old), dim=1)
    return shares, numbers


def resized(
    features: Float[Tensor, "b c h w"],
    size: Grid,
    trace: Trace | None = None,
    corners: bool = False,
) -> Float[Tensor, "b c rows cols"]:
    """Resize features bilinearly to another grid, and record the flow if there is a `trace`.

    `corners` is `align_corners` of `torch.nn.functional.interpolate`.
    """
    grid = (features.shape[2], features.shape[3])
    if grid == size:
        return features
    if trace is not None:
        trace.record(resize_sharing(grid, size, features.device, corners))
    return functional.interpolate(features, size=size, mode="bilinear", align_corners=corners)
