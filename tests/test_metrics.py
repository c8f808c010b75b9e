"""Proportions, intervals and calibration errors, compared with tables and results by hand."""

import math

import pytest
import torch

from vit_demo.errors import ConfigError
from vit_demo.evaluation.metrics import (
    Share,
    binned,
    bootstrapped,
    calibration_error,
    place_in_bins,
    reliability,
)


# Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3: the score interval.
@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_equals_the_published_one(right, total, low, high):
    assert Share(right, total).interval == pytest.approx((low, high), abs=5e-5)


def test_the_interval_is_symmetric_and_stays_in_its_bounds():
    low, high = Share(3, 10).interval
    assert Share(7, 10).interval == pytest.approx((1 - high, 1 - low))
    assert Share(10, 10).interval[1] == pytest.approx(1)
    assert Share(0, 10).interval[0] == pytest.approx(0)


def test_a_total_of_zero_gives_no_information():
    assert Share(0, 0).interval == (0.0, 1.0)
    assert math.isnan(Share(0, 0).value)


@pytest.mark.parametrize(("right", "total"), [(3, 2), (-1, 2)])
def test_more_than_the_total_is_refused(right, total):
    with pytest.raises(ConfigError, match="is not a proportion"):
        Share(right, total)


def sure(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_four_photos_computed_by_hand():
    """Two at 0.9, one wrong: |0.5 − 0.9| · 2/4. Two at 0.55 and 0.58, both right: 0.435 · 2/4."""
    confidence, right = sure(0.9, 0.9, 0.55, 0.58), torch.tensor([True, False, True, True])
    assert calibration_error(confidence, right) == pytest.approx(0.5 * 0.4 + 0.5 * 0.435)
    low, high = binned(confidence, right)
    assert (low.photos, low.accuracy, low.confidence) == (2, 1.0, pytest.approx(0.565))
    assert (low.low, low.high) == pytest.approx((8 / 15, 9 / 15))
    assert (high.photos, high.accuracy, high.confidence) == (2, 0.5, pytest.approx(0.9))


def test_within_a_bin_errors_cancel_and_between_bins_they_do_not():
    right = torch.tensor([True, False])
    assert calibration_error(sure(0.5, 0.5), right) == pytest.approx(0)
    assert calibration_error(sure(0.4, 0.6), right) == pytest.approx(0.6)


def test_a_bin_includes_its_upper_edge_and_not_its_lower_edge():
    edges = torch.linspace(0, 1, 16, dtype=torch.float64)
    assert place_in_bins(edges).tolist() == [0, *range(15)]
    assert place_in_bins(edges[1:-1] + 1e-9).tolist() == list(range(1, 15))


def test_the_error_is_that_of_a_plain_loop_over_bins():
    generator = torch.Generator().manual_seed(3)
    confidence = torch.rand(500, generator=generator, dtype=torch.float64)
    right = torch.rand(500, generator=generator) < confidence**2
    expected = 0.0
    for place in range(15):
        inside = [
            i for i, c in enumerate(confidence.tolist()) if place / 15 < c <= (place + 1) / 15
        ]
        if inside:
            accuracy = sum(bool(right[i]) for i in inside) / len(inside)
            mean = sum(float(confidence[i]) for i in inside) / len(inside)
            expected += len(inside) / 500 * abs(accuracy - mean)
    assert calibration_error(confidence, right) == pytest.approx(expected)
    bins = list(binned(confidence, right))
    assert sum(b.photos for b in bins) == 500
    from_bins = sum(b.photos / 500 * abs(b.accuracy - b.confidence) for b in bins)
    assert from_bins == pytest.approx(expected)


def test_calibrated_predictions_have_a_small_error_and_overconfident_ones_a_large_error():
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(20_000, generator=generator, dtype=torch.float64)
    right = torch.rand(20_000, generator=generator, dtype=torch.float64) < confidence
    assert calibration_error(confidence, right) < 0.02
    assert calibration_error(torch.ones_like(confidence), right) == pytest.approx(0.5, abs=0.02)


def test_the_interval_contains_the_error_and_narrows_with_more_photos():
    generator = torch.Generator().manual_seed(1)
    widths = []
    for photos in (100, 2500):
        confidence = 0.6 + 0.4 * torch.rand(photos, generator=generator, dtype=torch.float64)
        right = torch.rand(photos, generator=generator, dtype=torch.float64) < confidence - 0.3
        low, high = bootstrapped(confidence, right, seed=0)
        assert low < calibration_error(confidence, right) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3  # a fifth, by the square root


def test_the_same_seed_draws_the_same_interval():
    confidence, right = torch.rand(50).double(), torch.rand(50) < 0.5
    assert bootstrapped(confidence, right, 1) == bootstrapped(confidence, right, 1)
    assert bootstrapped(confidence, right, 1) != bootstrapped(confidence, right, 2)


def test_the_loss_is_the_mean_cross_entropy():
    logits, truth = torch.randn(40, 5), torch.randint(5, (40,))
    report = reliability(logits.log_softmax(dim=-1), truth)
    assert report.loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, truth)))
    assert report.interval[0] <= report.error <= report.interval[1]
