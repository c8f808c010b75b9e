"""Deletion and insertion, computed by hand on a model with known patch weights."""

import pytest
import torch
from planted import EVIDENCE, Planted, bright_photo

from vit_demo.errors import ConfigError
from vit_demo.explanations import run_with_trace
from vit_demo.faithfulness.curves import Curve, deletion, insertion, nested, ranking
from vit_demo.faithfulness.masked_classifier import MaskedClassifier


@pytest.fixture
def case(tiny_config):
    return MaskedClassifier(run_with_trace(Planted(tiny_config), bright_photo()), target=0)


def test_the_area_follows_the_trapezoid_rule():
    curve = Curve(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([1.0, 0.6, 0.2]))
    assert curve.area == pytest.approx(0.5 * 0.8 + 0.5 * 0.4)


def test_patches_are_ranked_by_descending_value():
    heatmap = torch.tensor([[0.1, 0.5], [-0.3, 0.2]])
    assert ranking(heatmap).tolist() == [1, 3, 0, 2]


def test_ties_are_not_in_row_major_order():
    orders = {tuple(ranking(torch.ones(3, 3), seed).tolist()) for seed in range(20)}
    assert len(orders) > 15
    firsts = [ranking(torch.zeros(4, 4), seed)[0].item() for seed in range(400)]
    assert sum(firsts) / len(firsts) == pytest.approx(7.5, abs=1)
    assert torch.equal(ranking(torch.ones(3, 3), 4), ranking(torch.ones(3, 3), 4))


@pytest.mark.parametrize(("patches", "steps"), [(16, 4), (196, 20), (7, 3), (5, 20)])
def test_steps_are_nested_and_of_equal_size(patches, steps):
    ranked = ranking(torch.rand(1, patches))
    masks = nested(ranked, steps)
    assert len(masks) == min(steps, patches) + 1
    counts = masks.sum(dim=1)
    assert counts[0] == 0
    assert counts[-1] == patches
    assert (counts.diff() - patches / min(steps, patches)).abs().max() < 1
    assert (masks[1:] >= masks[:-1]).all()
    for mask in masks:
        assert set(mask.nonzero()[:, 0].tolist()) == set(ranked[: mask.sum()].tolist())


def test_deletion_by_hand(case):
    """The four patches with positive weight come first; the mean color is 5/16 of their own."""
    (curve,) = deletion(case, EVIDENCE[None], steps=16)
    mean, weights = 5 / 16, [3.0, 2.0, 1.0, 0.5]
    logit, expected = sum(weights) - 1 - 2, []
    for weight in [0.0, *weights]:
        logit -= weight * (1 - mean)
        expected.append(torch.tensor(logit).sigmoid())
    torch.testing.assert_close(curve.probabilities[:5], torch.stack(expected))
    # Then dark patches that weigh nothing, and at last the one that speaks against the class.
    torch.testing.assert_close(curve.probabilities[5:-1], expected[-1].expand(11))
    assert curve.probabilities[-1] > expected[-1]
    torch.testing.assert_close(curve.shares, torch.linspace(0, 1, 17, dtype=torch.float64))


def test_insertion_starts_blurred_and_ends_with_the_photo(case):
    (curve,) = insertion(case, EVIDENCE[None], steps=16)
    whole = case.traced.logits.softmax(-1)[0, 0]
    torch.testing.assert_close(curve.probabilities[-1], whole)
    all_blurred = case.blurred(torch.ones(1, 16, dtype=torch.bool))[0]
    torch.testing.assert_close(curve.probabilities[0], all_blurred)
    assert (curve.probabilities[1:5].diff() > 0).all()


def test_the_curves_separate_right_maps_noise_and_wrong_maps(case):
    noise = [torch.rand(4, 4, generator=torch.Generator().manual_seed(s)) for s in range(40)]
    maps = torch.stack([EVIDENCE, -EVIDENCE, *noise])
    right, wrong, *others = (curve.area for curve in deletion(case, maps, 16))
    assert right < min(others)
    assert wrong > max(others)
    right, wrong, *others = (curve.area for curve in insertion(case, maps, 16))
    assert right > max(others)
    assert wrong < min(others)


def test_zero_steps_are_refused(case):
    with pytest.raises(ConfigError, match="steps=0, but it must be 1 or more"):
        deletion(case, EVIDENCE[None], 0)
