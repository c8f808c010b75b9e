"""What a patch attends to: rows of the attention matrices, and distances computed by hand."""

from dataclasses import replace

import pytest
import torch
from test_swin_trace import lively, tiny

from vit_demo import trace as flow_module
from vit_demo.errors import OptionError
from vit_demo.explanations import run_with_trace
from vit_demo.explanations.queries import (
    all_rollouts,
    attention_distances,
    mean_distance,
    patch_attention,
    patch_rollout,
)
from vit_demo.explanations.rollout import token_rollout
from vit_demo.trace import Attention

VARIANTS = {
    "class token": {},
    "registers": {"registers": 3, "pooling": "mean"},
    "no prefix": {"class_token": False, "pooling": "attention"},
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def traced(request, tiny_config, make_model):
    """Two photos on 4 × 6 patches."""
    return run_with_trace(
        make_model(replace(tiny_config, **request.param)), torch.randn(2, 3, 32, 48)
    )


def on_patches(row, traced):
    """One token's row, without the prefix, as a map."""
    patches = row[:, -24:]
    return (patches / patches.sum(dim=-1, keepdim=True)).reshape(2, 4, 6)


@pytest.mark.parametrize("head", [0, 2])
@pytest.mark.parametrize("layer", [1, -1])
def test_patch_attention_is_a_row_of_the_attention_matrix(traced, layer, head):
    chosen = traced.trace.layers[layer - 1 if layer > 0 else layer]
    token = chosen.tokens - 24 + 2 * 6 + 5
    weights = chosen.weights()[:, :, token]
    row = weights.mean(dim=1) if head == 0 else weights[:, head - 1]
    torch.testing.assert_close(
        patch_attention(traced, (2, 5), layer, head), on_patches(row, traced)
    )


def test_patch_rollout_is_a_row_of_the_rollout(traced):
    token = traced.trace.layers[0].tokens - 24 + 1 * 6 + 4
    row = token_rollout(traced.trace, batch=2)[:, token]
    torch.testing.assert_close(patch_rollout(traced, (1, 4)), on_patches(row, traced))


@pytest.mark.parametrize("layer", [2, -1])
def test_all_rollouts_are_those_of_each_patch(traced, layer):
    every = all_rollouts(traced, layer)
    assert every.shape == (24, 24)
    for number in (0, 7, 23):
        one = patch_rollout(traced, divmod(number, 6), layer)[0]
        torch.testing.assert_close(every[number].reshape(4, 6), one)


def test_all_rollouts_of_swin_begin_at_merged_tokens():
    traced = run_with_trace(
        lively(tiny("timm", (24, 24), (3, 3))), torch.randn(1, 3, 24, 24).double()
    )
    every, (_, cols) = all_rollouts(traced), traced.grid
    for patch in ((0, 0), (4, 7)):
        one = patch_rollout(traced, patch)[0]
        torch.testing.assert_close(every[patch[0] * cols + patch[1]].reshape(one.shape), one)


def test_after_the_first_layer_half_of_the_patch_rollout_is_the_patch_itself(traced):
    """One row of ½A + ½I, normalized over the patches."""
    first = traced.trace.layers[0]
    token = first.tokens - 24 + 3
    row = first.weights().mean(dim=1)[:, token] / 2
    row[:, token] += 0.5
    torch.testing.assert_close(patch_rollout(traced, (0, 3), layer=1), on_patches(row, traced))


@pytest.mark.parametrize("patch", [(4, 0), (0, 6), (-1, 0)])
def test_a_patch_outside_the_grid_is_refused(traced, patch):
    with pytest.raises(OptionError, match="rows are 0 to 3 and columns 0 to 5"):
        patch_attention(traced, patch)


def test_a_layer_or_head_outside_the_model_is_refused(traced):
    with pytest.raises(OptionError, match="layer=4"):
        patch_rollout(traced, (0, 0), layer=4)
    with pytest.raises(OptionError, match="head=9"):
        patch_attention(traced, (0, 0), head=9)


def test_in_swin_a_patch_attends_within_its_window_and_later_as_a_merged_token():
    """Windows of 3 × 3: in stage 1 the patch's own window; in stage 2 a window of 6 × 6 patches."""
    traced = run_with_trace(
        lively(tiny("timm", (24, 24), (3, 3))), torch.randn(1, 3, 24, 24).double()
    )
    near, far = (
        patch_attention(traced, (4, 7), layer=1)[0],
        patch_attention(traced, (4, 7), layer=3)[0],
    )
    assert (near > 0).nonzero().tolist() == [[r, c] for r in (3, 4, 5) for c in (6, 7, 8)]
    assert (far > 0).nonzero().tolist() == [[r, c] for r in range(6) for c in range(6, 12)]


def layer_of(weights):
    """One head with exactly these weights."""
    scores = torch.tensor(weights).log().clamp(min=-1e4)[None, None]
    count = scores.shape[-1]
    eye = torch.eye(count)[None, None]
    return Attention(scores, eye, eye, scores, torch.arange(count)[None], count, scale=1.0)


def test_distance_computed_by_hand():
    """A class token, and patches at 0, 16 and 48 pixels on a line.

    The first patch attends ½ to the class token, ¼ to itself and ¼ to the third: ½ · 48. The second
    attends to itself: 0. The third attends to the second: 32. The class token's attention does not
    count. (24 + 0 + 32) / 3.
    """
    layer = layer_of(
        [[0.0, 0.0, 0.0, 1.0], [0.5, 0.25, 0.0, 0.25], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    )
    centers = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 16.0], [0.0, 48.0]])
    has_position = torch.tensor([False, True, True, True])
    found = mean_distance(layer, centers, has_position)
    torch.testing.assert_close(found, torch.tensor([[(24 + 0 + 32) / 3]]))


def test_distances_equal_those_of_full_matrices(traced, monkeypatch):
    monkeypatch.setattr(flow_module, "CHUNK_NUMBERS", 1)
    spots = torch.cartesian_prod(torch.arange(4.0), torch.arange(6.0)) * 8
    gaps = (spots[:, None] - spots[None]).square().sum(dim=-1).sqrt()
    found = attention_distances(traced, cell=8.0)
    assert len(found) == 3
    for layer, distances in zip(traced.trace.layers, found, strict=True):
        weights = layer.weights()[:, :, -24:, -24:]
        weights = weights / weights.sum(dim=-1, keepdim=True)
        torch.testing.assert_close(distances, (weights * gaps).sum(dim=-1).mean(dim=-1))


def test_in_swin_distances_are_limited_by_the_window_and_grow_with_the_stage():
    traced = run_with_trace(
        lively(tiny("timm", (24, 24), (3, 3))), torch.randn(2, 3, 24, 24).double()
    )
    distances = attention_distances(traced, cell=2.0)
    assert [tuple(d.shape) for d in distances] == [(2, 1), (2, 1), (2, 2), (2, 2)]
    # The largest distance in a 3 × 3 window is its diagonal, 2 × 2 cells; stage 2 cells are twice.
    for layer, diagonal in zip(distances, [1, 1, 2, 2], strict=True):
        assert (layer > 0).all()
        assert (layer <= diagonal * 2 * 2 * 2**0.5).all()
