"""SaCo, computed by hand and on a model with known patch weights."""

import pytest
import torch
from planted import EVIDENCE, Planted, bright_photo

from vit_demo.errors import ConfigError
from vit_demo.explanations import run_with_trace
from vit_demo.faithfulness.masked_classifier import MaskedClassifier
from vit_demo.faithfulness.saco import saco, salience_weighted


def test_by_hand():
    """Pairs (1, 2) and (1, 3) agree, with 1 and 3; (2, 3) does not, with 2: (1 + 3 − 2) / 6."""
    salience, effect = torch.tensor([6.0, 5.0, 3.0]), torch.tensor([0.5, 0.1, 0.2])
    assert salience_weighted(salience, effect) == pytest.approx(2 / 6)


def test_extreme_and_neutral_values():
    falling, even = torch.tensor([4.0, 3.0, 1.0]), torch.ones(3)
    assert salience_weighted(falling, falling) == 1
    assert salience_weighted(falling, -falling) == -1
    assert salience_weighted(falling, even) == 1  # no group has less effect than one below it
    assert salience_weighted(even, falling) == 0


def test_noise_scores_zero_on_average():
    draw = torch.Generator().manual_seed(0)
    values = [
        salience_weighted(
            torch.rand(10, generator=draw).sort(descending=True).values,
            torch.rand(10, generator=draw),
        )
        for _ in range(500)
    ]
    assert sum(values) / len(values) == pytest.approx(0, abs=0.05)


def test_groups_must_be_sorted_by_salience():
    with pytest.raises(ConfigError, match="not in order of descending salience"):
        salience_weighted(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]))


def test_a_right_map_scores_one_and_a_wrong_one_is_negative(tiny_config):
    """With groups of one patch each, the weight of a patch is its effect."""
    case = MaskedClassifier(run_with_trace(Planted(tiny_config), bright_photo()), target=0)
    maps = torch.stack([EVIDENCE, -EVIDENCE, torch.ones(4, 4)])
    right, wrong, even = saco(case, maps, groups=16)
    assert right == pytest.approx(1)
    assert wrong < -0.9
    assert even == 0


def test_a_uniform_map_scores_zero_for_every_value(tiny_config):
    """In groups of three and four, sums of equal values round differently."""
    case = MaskedClassifier(run_with_trace(Planted(tiny_config), bright_photo()), target=0)
    for value in (1 / 16, 0.1, 1 / 3):
        assert saco(case, torch.full((1, 4, 4), value), groups=5) == pytest.approx([0])
    two = torch.full((4, 4), 0.1)
    two[:2] = 0.7
    assert -1 <= saco(case, two[None], groups=6)[0] <= 1


def test_the_salience_of_a_group_is_the_mean_of_its_patches(tiny_config):
    """Sixteen patches in five groups of three or four are in order of descending salience."""
    case = MaskedClassifier(run_with_trace(Planted(tiny_config), bright_photo()), target=0)
    assert saco(case, torch.ones(1, 4, 4), groups=5) == [0]
    assert saco(case, EVIDENCE[None], groups=5)[0] > 0.5
