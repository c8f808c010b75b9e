"""SaCo, worked by hand and on a model whose evidence is known."""

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


def test_its_ends_and_its_middle():
    falling, even = torch.tensor([4.0, 3.0, 1.0]), torch.ones(3)
    assert salience_weighted(falling, falling) == 1
    assert salience_weighted(falling, -falling) == -1
    assert salience_weighted(falling, even) == 1  # no group has less effect than one below it
    assert salience_weighted(even, falling) == 0


def test_noise_is_worth_nothing_on_average():
    draw = torch.Generator().manual_seed(0)
    values = [
        salience_weighted(
            torch.rand(10, generator=draw).sort(descending=True).values,
            torch.rand(10, generator=draw),
        )
        for _ in range(500)
    ]
    assert sum(values) / len(values) == pytest.approx(0, abs=0.05)


def test_groups_must_stand_by_salience():
    with pytest.raises(ConfigError, match="do not stand by falling salience"):
        salience_weighted(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]))


def test_a_right_map_has_all_a_wrong_one_none(tiny_config):
    """With groups of one patch each, what a patch weighs is its effect."""
    case = MaskedClassifier(run_with_trace(Planted(tiny_config), bright_photo()), target=0)
    maps = torch.stack([EVIDENCE, -EVIDENCE, torch.ones(4, 4)])
    right, wrong, even = saco(case, maps, groups=16)
    assert right == pytest.approx(1)
    assert wrong < -0.9
    assert even == 0


def test_an_even_map_claims_nothing_whatever_its_value(tiny_config):
    """In groups of three and four the sums of 1/16, or of any other number, round unlike."""
    case = MaskedClassifier(run_with_trace(Planted(tiny_config), bright_photo()), target=0)
    for value in (1 / 16, 0.1, 1 / 3):
        assert saco(case, torch.full((1, 4, 4), value), groups=5) == pytest.approx([0])
    two = torch.full((4, 4), 0.1)
    two[:2] = 0.7
    assert -1 <= saco(case, two[None], groups=6)[0] <= 1


def test_a_groups_salience_is_its_patches_own(tiny_config):
    """Sixteen patches in five groups of three or four still stand by falling salience."""
    case = MaskedClassifier(run_with_trace(Planted(tiny_config), bright_photo()), target=0)
    assert saco(case, torch.ones(1, 4, 4), groups=5) == [0]
    assert saco(case, EVIDENCE[None], groups=5)[0] > 0.5
