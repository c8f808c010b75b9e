"""The temperature, compared with a grid search, closed forms and planted miscalibration."""

import math

import pytest
import torch
from torch.nn import functional

from vit_demo.evaluation.metrics import reliability
from vit_demo.evaluation.temperature import (
    COLDEST,
    HOTTEST,
    cross_fitted,
    fit_temperature,
    folds,
    unsure_threshold,
)


def honest(photos, classes=5, seed=0):
    """Calibrated logits: the classes are drawn from their softmax."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(photos, classes, generator=generator, dtype=torch.float64)
    truth = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]
    return logits, truth


def loss(logits, truth, temperature):
    return float(functional.cross_entropy(logits / temperature, truth))


def test_two_classes_in_closed_form():
    """Three of four right with logits (1, 0): softmax(1/T) = ¾, so T = 1 / ln 3."""
    logits = torch.tensor([[1.0, 0.0]] * 4)
    truth = torch.tensor([0, 0, 0, 1])
    assert fit_temperature(logits, truth) == pytest.approx(1 / math.log(3), rel=1e-12)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_no_temperature_on_a_fine_grid_has_a_lower_loss(scale):
    logits, truth = honest(300)
    logits = scale * logits
    found = fit_temperature(logits, truth)
    grid = torch.logspace(math.log10(COLDEST), math.log10(HOTTEST), 4001, dtype=torch.float64)
    losses = [loss(logits, truth, float(temperature)) for temperature in grid]
    assert loss(logits, truth, found) <= min(losses)
    best = float(grid[losses.index(min(losses))])
    assert found == pytest.approx(best, rel=float(grid[1] / grid[0]) - 1)


def test_logits_three_times_too_large_get_a_temperature_of_three():
    logits, truth = honest(4000)
    found = fit_temperature(3 * logits, truth)
    assert found == pytest.approx(3 * fit_temperature(logits, truth))
    assert found == pytest.approx(3, rel=0.05)
    before = reliability((3 * logits).log_softmax(dim=-1), truth)
    after = reliability(cross_fitted(3 * logits, truth, folds(4000)), truth)
    assert before.error > 0.15
    assert after.error < 0.03
    assert after.interval[1] < before.interval[0]
    assert after.loss == pytest.approx(loss(logits, truth, 1), abs=0.005)


def test_it_changes_no_predicted_class():
    logits, truth = honest(200)
    assert torch.equal(cross_fitted(logits, truth, folds(200)).argmax(-1), logits.argmax(-1))


def test_there_is_none_if_all_predictions_are_correct():
    """A lower temperature is always better, so there is no minimum."""
    logits = torch.randn(30, 4, dtype=torch.float64)
    assert fit_temperature(logits, logits.argmax(dim=-1)) is None
    assert fit_temperature(100 * logits, logits.argmax(dim=-1)) is None


def test_there_is_none_if_predictions_are_worse_than_chance():
    logits = torch.randn(30, 4, dtype=torch.float64)
    assert fit_temperature(logits, logits.argmin(dim=-1)) is None


@pytest.mark.parametrize("photos", [1, 3, 5, 17])
def test_every_photo_is_in_one_fold(photos):
    parts = folds(photos)
    assert sorted(torch.cat(parts).tolist()) == list(range(photos))
    sizes = [len(part) for part in parts]
    assert len(parts) == min(5, photos)
    assert max(sizes) - min(sizes) <= 1
    assert all(torch.equal(a, b) for a, b in zip(parts, folds(photos), strict=True))


def test_a_photo_is_scored_with_the_temperature_of_the_other_folds():
    """Whatever the photos of a fold say, the temperature they get is that of the rest."""
    logits, truth = honest(100)
    parts = folds(100)
    held = parts[2]
    others = torch.cat([part for part in parts if part is not held])
    expected = (logits[held] / fit_temperature(logits[others], truth[others])).log_softmax(dim=-1)
    torch.testing.assert_close(cross_fitted(logits, truth, parts)[held], expected)
    turned = truth.clone()
    turned[held] = (truth[held] + 1) % 5
    torch.testing.assert_close(cross_fitted(logits, turned, parts)[held], expected)


def test_cross_fitted_loss_is_not_lower_than_the_fitted_loss():
    logits, truth = honest(60, seed=2)
    own = loss(logits, truth, fit_temperature(logits, truth))
    fair = reliability(cross_fitted(logits, truth, folds(60)), truth).loss
    assert fair > own


@pytest.mark.parametrize("photos", [6, 9, 24])
def test_folds_may_have_different_sizes(photos):
    logits, truth = honest(photos)
    scored = cross_fitted(logits, truth, folds(photos))
    torch.testing.assert_close(scored.exp().sum(dim=-1), torch.ones(photos, dtype=torch.float64))


def test_one_photo_keeps_its_logits():
    logits = torch.tensor([[2.0, 0.0]])
    kept = cross_fitted(logits, torch.tensor([0]), folds(1))
    torch.testing.assert_close(kept, logits.double().log_softmax(dim=-1))


def test_the_threshold_keeps_95_percent_of_the_correct_predictions():
    """Confidences of the right ones from 0.60 to 0.80 in steps of 0.01: the second lowest."""
    confidence = torch.linspace(0.60, 0.80, 21, dtype=torch.float64)
    logits = torch.stack([confidence.log(), (1 - confidence).log()], dim=-1)
    truth = torch.zeros(21, dtype=torch.int64)
    assert unsure_threshold(logits, truth, 1.0) == pytest.approx(0.61)
    wrong = torch.tensor([[0.1, 9.0], [0.3, 0.2]], dtype=torch.float64)
    more = torch.cat([logits, wrong])
    truth = torch.cat([truth, torch.tensor([0, 1])])
    assert unsure_threshold(more, truth, 1.0) == pytest.approx(0.61)


def test_the_threshold_is_on_the_calibrated_scale():
    logits, truth = honest(500)
    assert unsure_threshold(3 * logits, truth, 3.0) == pytest.approx(
        unsure_threshold(logits, truth, 1.0)
    )


def test_there_is_no_threshold_without_a_correct_prediction():
    assert unsure_threshold(torch.tensor([[1.0, 0.0]]), torch.tensor([1]), 1.0) is None
