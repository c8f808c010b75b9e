"""Fine-tuning: every parameter at its own pace, and a tiny problem solved to the end."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from PIL import Image

from vit_demo.errors import ConfigError
from vit_demo.models.vit import VisionTransformer
from vit_demo.preprocess import Preprocessing
from vit_demo.training.data import Augmentation, scan, split
from vit_demo.training.finetune import (
    Recipe,
    accuracy,
    finetune,
    parameter_groups,
    warm_up_then_cosine,
)

PREPROCESSING = Preprocessing(resize=(32, 32))
QUICK = Recipe(
    epochs=2, batch_size=8, learning_rate=3e-3, warm_up_steps=4, workers=0, bfloat16=False
)


@pytest.fixture
def colours(tmp_path):
    """Reddish and bluish photos, sixteen of each."""
    for label, colour in (("blue", (40, 60, 200)), ("red", (200, 60, 40))):
        (tmp_path / label).mkdir()
        for number in range(16):
            shade = tuple(part + number for part in colour)
            Image.new("RGB", (40, 30), shade).save(tmp_path / label / f"{number:02}.png")
    return split(scan(tmp_path), held_out=0.25, seed=0)


@pytest.fixture
def fresh(tiny_config):
    """Make the same fresh two-class model every time."""

    def make():
        torch.manual_seed(1)
        return VisionTransformer(replace(tiny_config, classes=2, depth=2))

    return make


def nothing(_step):
    return None


def test_two_epochs_tell_red_from_blue(colours, fresh):
    training, held_out = colours
    model = fresh()
    score = finetune(model, training, held_out, PREPROCESSING, QUICK, nothing)
    assert score == 1
    assert accuracy(model, training + held_out, PREPROCESSING, QUICK) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_the_same_seed_gives_the_same_weights(colours, fresh, workers):
    training, held_out = colours
    recipe = replace(QUICK, epochs=1, workers=workers)
    ends = []
    for seed in (0, 0, 1):
        model = fresh()
        finetune(model, training, held_out, PREPROCESSING, replace(recipe, seed=seed), nothing)
        ends.append(torch.cat([value.flatten() for value in model.state_dict().values()]))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_every_step_is_reported_and_every_epoch_says_its_accuracy(colours, fresh):
    training, held_out = colours  # 24 photos: three batches of eight
    steps = []
    finetune(fresh(), training, held_out, PREPROCESSING, QUICK, steps.append)
    assert [(s.step, s.epoch) for s in steps if s.accuracy is None] == [
        (1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2),
    ]  # fmt: skip
    ends = [s for s in steps if s.accuracy is not None]
    assert [(s.step, s.epoch) for s in ends] == [(3, 1), (6, 2)]
    assert {s.steps for s in steps} == {6}
    means = [sum(s.loss for s in steps if s.accuracy is None and s.epoch == e) / 3 for e in (1, 2)]
    assert [s.loss for s in ends] == pytest.approx(means)
    assert means[1] < means[0]


def test_the_model_ends_with_the_weights_of_its_best_epoch(colours, fresh, monkeypatch):
    """Scored 0.5, 0.9, 0.7 in turn, it must end as after the second epoch."""
    from vit_demo.training import finetune as module

    training, held_out = colours
    scores, seen = iter((0.5, 0.9, 0.7)), []

    def score(model, *_):
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return next(scores)

    monkeypatch.setattr(module, "accuracy", score)
    model = fresh()
    recipe = replace(QUICK, epochs=3)
    assert finetune(model, training, held_out, PREPROCESSING, recipe, nothing) == 0.9
    end = model.state_dict()
    assert all(torch.equal(end[name], seen[1][name]) for name in end)
    assert any(not torch.equal(end[name], seen[2][name]) for name in end)


def test_a_frozen_backbone_does_not_move(colours, fresh):
    training, held_out = colours
    model = fresh()
    model.freeze_backbone()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    finetune(model, training, held_out, PREPROCESSING, replace(QUICK, epochs=1), nothing)
    moved = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert moved == {"head.weight", "head.bias"}


def test_fewer_photos_than_a_batch_still_train(colours, fresh):
    training, held_out = colours
    steps = []
    recipe = replace(QUICK, epochs=1, batch_size=64)
    finetune(fresh(), training, held_out, PREPROCESSING, recipe, steps.append)
    assert steps[-1].step == 1


def test_bfloat16_learns_too_and_leaves_float32_weights(colours, fresh):
    training, held_out = colours
    model = fresh()
    recipe = replace(QUICK, bfloat16=True)
    assert finetune(model, training, held_out, PREPROCESSING, recipe, nothing) == 1
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_accuracy_is_the_share_named_correctly(colours, fresh):
    """A head that always says class 1 is right on exactly the photos of class 1."""
    _, held_out = colours
    model = fresh()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.0, 1.0]))
    uneven = [*held_out[:1], *(sample for sample in held_out if sample[1] == 1)]
    assert held_out[0][1] == 0
    expected = (len(uneven) - 1) / len(uneven)
    assert accuracy(model, uneven, PREPROCESSING, QUICK) == pytest.approx(expected)


VARIANTS = [{}, {"distilled": True}, {"representation": 16}, {"layer_scale": 0.1}]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_every_parameter_is_in_exactly_one_group(tiny_config, changes):
    model = VisionTransformer(replace(tiny_config, **changes))
    grouped = [id(p) for group in parameter_groups(model, Recipe()) for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in model.parameters()}


@pytest.fixture
def settings(tiny_config):
    """(learning rate, weight decay) of every parameter of a three-block model, by name."""
    model = VisionTransformer(replace(tiny_config, distilled=True, representation=16))
    recipe = Recipe(learning_rate=1.0, layer_decay=0.5, head_factor=3.0, weight_decay=0.05)
    by_id = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, recipe)
        for parameter in group["params"]
    }
    return {name: by_id[id(parameter)] for name, parameter in model.named_parameters()}


def test_each_block_learns_half_as_fast_as_the_next(settings):
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


@pytest.mark.parametrize("name", ["epochs", "batch_size", "learning_rate", "layer_decay"])
def test_a_recipe_that_cannot_be_followed_is_refused(name):
    zero = type(getattr(Recipe(), name))(0)
    with pytest.raises(ConfigError, match=f"{name}={zero}, but it must be above 0"):
        Recipe(**{name: zero})


def test_augmentation_is_the_recipes(colours, fresh, monkeypatch):
    """Training photos go through the recipe's augmentation, held-out photos do not."""
    seen = []
    plain = Augmentation.__call__

    def spy(self, photo, preprocessing):
        seen.append(self)
        return plain(self, photo, preprocessing)

    monkeypatch.setattr(Augmentation, "__call__", spy)
    training, held_out = colours
    mine = Augmentation(area=(0.5, 0.6))
    recipe = replace(QUICK, epochs=1, augmentation=mine)
    finetune(fresh(), training, held_out, PREPROCESSING, recipe, nothing)
    assert seen == [mine] * len(training)
