"""Known and unknown classes: confidence, AUROC and the best threshold."""

import pytest
import torch

from vit_demo.errors import ConfigError
from vit_demo.evaluation.metrics import Share
from vit_demo.evaluation.ood import confidence, ood_report

KNOWN, STRANGERS = torch.tensor([0.9, 0.8, 0.6]), torch.tensor([0.7, 0.5, 0.4, 0.3])


def test_by_hand():
    """Eleven of twelve pairs are in order; below 0.55 are three unknown photos and no known one."""
    found = ood_report(KNOWN, STRANGERS)
    assert found.known == pytest.approx(2.3 / 3)
    assert found.ood == pytest.approx(1.9 / 4)
    assert found.auroc == pytest.approx(11 / 12)
    assert found.threshold == pytest.approx(0.55)
    assert (found.below, found.kept) == (Share(3, 4), Share(3, 3))


def test_equal_confidences_have_an_auroc_of_one_half():
    same = torch.full((3,), 0.5)
    assert ood_report(same, same).auroc == 0.5
    assert ood_report(KNOWN, KNOWN).auroc == pytest.approx(0.5)
    assert ood_report(STRANGERS, KNOWN).auroc == pytest.approx(1 / 12)


def test_no_other_threshold_separates_them_better():
    draw = torch.Generator().manual_seed(0)
    known, ood = torch.rand(50, generator=draw).sqrt(), torch.rand(40, generator=draw)
    found = ood_report(known, ood)
    reached = found.below.value + found.kept.value
    for threshold in torch.linspace(0, 1, 501):
        here = (ood < threshold).double().mean() + (known >= threshold).double().mean()
        assert here <= reached + 1e-9


def test_both_kinds_are_needed():
    with pytest.raises(ConfigError, match="both needed"):
        ood_report(KNOWN, torch.empty(0))


def test_confidence_is_the_maximum_probability_at_a_temperature():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    expected = [float(torch.tensor(1.0).sigmoid()), 0.5]
    assert confidence(logits, 2.0).tolist() == pytest.approx(expected)
