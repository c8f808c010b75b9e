"""Rollout and its options, compared with the full matrix products of the papers."""

from dataclasses import replace

import oracles
import pytest
import torch
from test_relevance import READ
from test_swin_trace import lively, tiny
from test_transformers import FAMILIES, theirs

from vit_demo.checkpoints import read_folder
from vit_demo.checkpoints.checkpoint import build
from vit_demo.errors import MethodError, OptionError
from vit_demo.explanations import METHODS, run_with_trace
from vit_demo.explanations.rollout import fused, token_rollout
from vit_demo.trace import mean_heads

ROLLOUT = METHODS["rollout"]
TARGET = torch.tensor([0, 1])


@pytest.fixture
def traced(tiny_model):
    """A batch of two photos on a rectangular grid of 4 × 6 patches."""
    return run_with_trace(tiny_model, torch.randn(2, 3, 32, 48))


def rollout_matrix(mixings):
    """The product of (½Ā + ½I) over all layers, last layer leftmost."""
    identity = torch.eye(mixings[0].shape[-1])
    product = identity.expand(len(mixings[0]), -1, -1)
    for mixing in mixings:
        product = (mixing + identity) / 2 @ product
    return product


def on_patches(rows, grid):
    patches = rows[:, -grid[0] * grid[1] :]
    return (patches / patches.sum(dim=1, keepdim=True)).reshape(len(rows), *grid)


def one_by_one(weights, fusion, ratio, own):
    """Fuse and discard entry by entry; `own` tokens keep the entry for themselves."""
    heads = {"mean": weights.mean(dim=1), "max": weights.amax(dim=1), "min": weights.amin(dim=1)}
    mixing = heads[fusion].clone()
    for photo in mixing:
        for number, row in enumerate(photo):
            smallest_first = row.argsort().tolist()
            if number in own:
                smallest_first.remove(number)
            for token in smallest_first[: int(ratio * len(row))]:
                row[token] = 0
            row /= row.sum()
    return mixing


@pytest.mark.parametrize("family", READ)
def test_it_equals_rollout_of_transformers_attentions(tmp_path, family):
    theirs(tmp_path, family)
    oracle = getattr(oracles.transformers(), FAMILIES[family][0]).from_pretrained(
        tmp_path, attn_implementation="eager"
    )
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        attentions = oracle.eval()(pixels, output_attentions=True).attentions
    _, shares, on_each = READ[family]
    read = torch.tensor([*shares, *[on_each / 16] * 16])
    product = rollout_matrix([weights.mean(dim=1) for weights in attentions])
    expected = on_patches(read @ product, (4, 4))
    model = build(read_folder(tmp_path, "tiny"), "tiny").model
    found = ROLLOUT(run_with_trace(model, pixels), TARGET, {})
    assert (found - expected).abs().max() <= 1e-5 * expected.max()


def test_rollout_of_all_tokens_is_the_matrix_product(traced):
    all_rows = token_rollout(traced.trace, batch=2)
    mixings = [mean_heads(layer, slice(None)) for layer in traced.trace.layers]
    torch.testing.assert_close(all_rows, rollout_matrix(mixings))
    torch.testing.assert_close(all_rows.sum(dim=-1), torch.ones(2, 25))


@pytest.mark.parametrize(
    ("changes", "own"),
    [
        ({}, {0}),
        ({"distilled": True}, {0, 1}),
        ({"pooling": "mean", "registers": 2}, set(range(3, 27))),
    ],
)
@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.9])
def test_fusion_and_discarding_entry_by_entry(tiny_config, make_model, changes, own, fusion, ratio):
    """A token that the head reads keeps the entry for itself; other tokens may lose theirs."""
    model = make_model(replace(tiny_config, **changes))
    traced = run_with_trace(model, torch.randn(2, 3, 32, 48))
    mixings = [one_by_one(w.weights(), fusion, ratio, own) for w in traced.trace.layers]
    shares = model._read_shares(mixings[0].shape[-1])
    read = torch.tensor([shares.get(token, 0.0) for token in range(mixings[0].shape[-1])])
    expected = on_patches(read @ rollout_matrix(mixings), (4, 6))
    found = ROLLOUT(traced, TARGET, {"fusion": fusion, "discard_ratio": ratio})
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("start", [1, 2, 3])
def test_layers_before_the_start_layer_are_ignored(traced, start):
    mixings = [layer.weights().mean(dim=1) for layer in traced.trace.layers[start - 1 :]]
    expected = on_patches(rollout_matrix(mixings)[:, 0], (4, 6))
    torch.testing.assert_close(ROLLOUT(traced, TARGET, {"start_layer": start}), expected)


@pytest.mark.parametrize("convention", ["transformers", "timm"])
@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_every_row_stays_a_distribution_over_real_tokens(convention, fusion, ratio):
    """Also in padded and shifted windows; the given share of the real entries is zero."""
    model = lively(tiny(convention, (22, 30), (4, 4)))
    traced = run_with_trace(model, torch.randn(2, 3, 22, 30).double())
    read = {flow: torch.zeros(weight.shape[-1]) > 0 for flow, weight in traced.residual_weights()}
    for layer in traced.trace.layers:
        mixing = fused(fusion, ratio, read)(layer, slice(None))
        for window, rows in enumerate(mixing):
            real = layer.index[window % len(layer.index)] >= 0
            assert not rows[:, ~real].any()
            kept = rows[real]
            torch.testing.assert_close(kept.sum(dim=-1), torch.ones(len(kept)).double())
            assert ((kept > 0).sum(dim=-1) <= real.sum() - int(ratio * real.sum())).all()
    found = ROLLOUT(traced, TARGET, {"fusion": fusion, "discard_ratio": ratio, "start_layer": 2})
    torch.testing.assert_close(found.sum(dim=(1, 2)), torch.ones(2).double())


def test_an_empty_map_is_refused(tiny_model):
    """With nearly all entries discarded, the class token attends only to itself."""
    traced = run_with_trace(tiny_model, torch.randn(1, 3, 32, 32))
    with pytest.raises(MethodError, match="no patch has any weight"):
        ROLLOUT(traced, TARGET[:1], {"discard_ratio": 0.99})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"discard_ratio": 1.0}, "discard_ratio=1, but it must lie in"),
        ({"discard_ratio": -0.1}, "discard_ratio=-0.1, but it must lie in"),
        ({"discard_ratio": float("nan")}, "discard_ratio=nan, but it must lie in"),
        ({"start_layer": 0}, "start_layer=0, but this checkpoint has layers 1 to 3"),
        ({"start_layer": 4}, "start_layer=4, but this checkpoint has layers 1 to 3"),
        ({"fusion": "median"}, "fusion=median, but it must be one of: mean, max, min"),
    ],
)
def test_options_out_of_range_are_refused(traced, options, words):
    with pytest.raises(OptionError, match=words):
        ROLLOUT(traced, TARGET, options)
