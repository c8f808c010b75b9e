"""Layer-wise learning rates and their schedule."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from vit_demo.models.vit import VisionTransformer
from vit_demo.training.recipe import Recipe, Stage
from vit_demo.training.schedule import parameter_groups, running_mean, warm_up_then_cosine

HEAD, ALL = Stage("head", 1), Stage("all", 1)
VARIANTS = [{}, {"distilled": True}, {"representation": 16}, {"layer_scale": 0.1}]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_every_parameter_is_in_exactly_one_group(tiny_config, changes):
    model = VisionTransformer(replace(tiny_config, **changes))
    grouped = [id(p) for group in parameter_groups(model, Recipe(), ALL) for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in model.parameters()}


@pytest.fixture
def settings(tiny_config):
    """(learning rate, weight decay) of every parameter of a three-block model, by name."""
    model = VisionTransformer(replace(tiny_config, distilled=True, representation=16))
    recipe = Recipe(learning_rate=1.0, layer_decay=0.5, head_factor=3.0, weight_decay=0.05)
    by_id = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, recipe, ALL)
        for parameter in group["params"]
    }
    return {name: by_id[id(parameter)] for name, parameter in model.named_parameters()}


def test_each_block_has_half_the_learning_rate_of_the_next(settings):
    """Three blocks at decay ½: 1 for the last, ½, ¼, and ⅛ for what stands before them."""
    expected = {
        "head": 3.0,
        "head_dist": 3.0,
        "pre_logits": 3.0,
        "norm": 1.0,
        "blocks.2": 1.0,
        "blocks.1": 0.5,
        "blocks.0": 0.25,
        "patch_embed": 0.125,
        "cls_token": 0.125,
        "dist_token": 0.125,
        "pos_embed": 0.125,
    }
    for name, (rate, _) in settings.items():
        parts = name.split(".")
        part = ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]
        assert rate == pytest.approx(expected[part]), name


def test_only_matrices_decay(settings):
    """Not biases, norms, tokens or positions: pulling those towards zero means nothing."""
    for name, (_, decay) in settings.items():
        matrix = name.endswith("weight") and "norm" not in name
        assert decay == (0.05 if matrix else 0.0), name


def test_the_schedule_rises_straight_and_falls_as_half_a_cosine():
    factors = [warm_up_then_cosine(step, 10, 110) for step in range(111)]
    assert factors[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert factors[10] == 1
    assert factors[35] == pytest.approx((1 + math.sqrt(0.5)) / 2)  # a quarter of the way down
    assert factors[60] == pytest.approx(0.5)
    assert factors[110] == pytest.approx(0)
    assert all(earlier >= later for earlier, later in pairwise(factors[10:]))
    assert warm_up_then_cosine(500, 10, 110) == pytest.approx(0)


def test_the_schedule_needs_no_warm_up_and_survives_a_longer_one_than_the_run():
    assert warm_up_then_cosine(0, 0, 10) == 1
    assert [warm_up_then_cosine(step, 60, 3) for step in range(3)] == pytest.approx(
        [1 / 60, 2 / 60, 3 / 60]
    )


def test_the_head_alone_learns_at_a_rate_of_its_own_and_what_is_frozen_is_in_no_group(tiny_config):
    model = VisionTransformer(tiny_config)
    model.freeze_backbone()
    groups = parameter_groups(model, Recipe(head_learning_rate=0.5, head_factor=3.0), HEAD)
    assert {group["lr"] for group in groups} == {0.5}
    grouped = {id(p) for group in groups for p in group["params"]}
    assert grouped == {id(parameter) for parameter in model.head.parameters()}


def test_the_running_mean_forgets_fast_at_first_and_as_asked_later():
    """After the n-th update (1 + n) / (10 + n) of the old stays, until that is `keep`."""
    update, mean = running_mean(0.9), torch.zeros(1)
    for seen, kept in ((0, 1 / 10), (1, 2 / 11), (80, 81 / 90), (1000, 0.9)):
        mean.fill_(1.0)
        update([mean], [torch.zeros(1)], seen)
        assert mean.item() == pytest.approx(kept)
