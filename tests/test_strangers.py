"""Known photos and strangers: how sure, how well told apart, and where to draw the line."""

import pytest
import torch

from vit_demo.errors import ConfigError
from vit_demo.training.metrics import Share
from vit_demo.training.strangers import confidence, strangeness

KNOWN, STRANGERS = torch.tensor([0.9, 0.8, 0.6]), torch.tensor([0.7, 0.5, 0.4, 0.3])


def test_by_hand():
    """Eleven of twelve pairs are in order; below 0.55 lie three strangers and no known photo."""
    found = strangeness(KNOWN, STRANGERS)
    assert found.known == pytest.approx(2.3 / 3)
    assert found.strangers == pytest.approx(1.9 / 4)
    assert found.told_apart == pytest.approx(11 / 12)
    assert found.threshold == pytest.approx(0.55)
    assert (found.below, found.kept) == (Share(3, 4), Share(3, 3))


def test_equal_confidences_are_half_told_apart():
    same = torch.full((3,), 0.5)
    assert strangeness(same, same).told_apart == 0.5
    assert strangeness(KNOWN, KNOWN).told_apart == pytest.approx(0.5)
    assert strangeness(STRANGERS, KNOWN).told_apart == pytest.approx(1 / 12)


def test_no_other_threshold_parts_them_better():
    draw = torch.Generator().manual_seed(0)
    known, strangers = torch.rand(50, generator=draw).sqrt(), torch.rand(40, generator=draw)
    found = strangeness(known, strangers)
    reached = found.below.value + found.kept.value
    for threshold in torch.linspace(0, 1, 501):
        here = (strangers < threshold).double().mean() + (known >= threshold).double().mean()
        assert here <= reached + 1e-9


def test_both_kinds_are_needed():
    with pytest.raises(ConfigError, match="both needed"):
        strangeness(KNOWN, torch.empty(0))


def test_confidence_is_the_likeliest_probability_at_a_temperature():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    expected = [float(torch.tensor(1.0).sigmoid()), 0.5]
    assert confidence(logits, 2.0).tolist() == pytest.approx(expected)
