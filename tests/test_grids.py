"""Geometry as flows: what they share out is what the operations themselves do."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vit_demo.models.grids import (
    prefix_sharing,
    resize_sharing,
    square_sharing,
    token_sharing,
)
from vit_demo.trace import LinearMixing, mean_heads

CPU = torch.device("cpu")
GRIDS = [(8, 8), (7, 9), (1, 4), (5, 1)]


def mix(flow: LinearMixing, values: Tensor) -> Tensor:
    return (functional.pad(values, (0, 1))[:, flow.index] * flow.share).sum(dim=-1)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_strided_square_is_average_pooling_over_what_is_there(grid):
    values = torch.randn(2, *grid)
    pooled = functional.avg_pool2d(values, 3, stride=2, padding=1, count_include_pad=False)
    shared = mix(square_sharing(grid, 3, 2, -1, CPU), values.flatten(1))
    torch.testing.assert_close(shared, pooled.flatten(1))


@pytest.mark.parametrize("grid", GRIDS)
def test_merging_is_average_pooling_that_keeps_odd_edges(grid):
    values = torch.randn(2, *grid)
    pooled = functional.avg_pool2d(values, 2, ceil_mode=True, count_include_pad=False)
    shared = mix(square_sharing(grid, 2, 2, 0, CPU), values.flatten(1))
    torch.testing.assert_close(shared, pooled.flatten(1))


@pytest.mark.parametrize("old", GRIDS)
@pytest.mark.parametrize("new", [(8, 10), (6, 4), (2, 2)])
def test_resizing_is_bilinear_interpolation(old, new):
    values = torch.randn(2, *old)
    resized = functional.interpolate(values[:, None], size=new, mode="bilinear")[:, 0]
    shared = mix(resize_sharing(old, new, CPU), values.flatten(1))
    torch.testing.assert_close(shared, resized.flatten(1))


@pytest.mark.parametrize(
    "flow", [square_sharing((7, 9), 3, 2, -1, CPU), resize_sharing((7, 9), (8, 10), CPU)]
)
def test_pull_is_the_adjoint_of_sharing(flow):
    values = torch.randn(2, 63).double()
    attn_output = mix(flow, values)
    weight = torch.randn_like(attn_output)
    pulled = flow.apply_transpose(weight[:, None], mean_heads)[:, 0]
    torch.testing.assert_close((weight * attn_output).sum(-1), (pulled * values).sum(-1))


@pytest.mark.parametrize("prefix", [1, 2, 5])
def test_a_prefix_has_no_children(prefix):
    sharing = prefix_sharing(prefix, 6, CPU)
    weight = torch.arange(1.0, prefix + 7)[None, None]
    assert torch.equal(sharing.apply_transpose(weight, mean_heads), weight[:, :, prefix:])


def test_a_read_out_of_two_tokens_gives_each_a_half():
    sharing = token_sharing([0, 1], 4, CPU)
    pulled = sharing.apply_transpose(torch.ones(1, 1, 1), mean_heads)
    assert torch.equal(pulled, torch.tensor([[[0.5, 0.5, 0.0, 0.0]]]))
