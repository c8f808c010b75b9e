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

STILL = Augmentation(area=(1.0, 1.0), aspect=(4 / 3, 4 / 3), brightness=0.0, saturation=0.0)


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


def train(model, colours, recipe):
    """Fine-tune to the end; every step that was reported."""
    training, held_out = colours
    return list(finetune(model, training, held_out, PREPROCESSING, recipe))


def test_two_epochs_tell_red_from_blue(colours, fresh):
    training, held_out = colours
    model = fresh()
    assert accuracy(model, training + held_out, PREPROCESSING, QUICK) < 1
    assert train(model, colours, QUICK)[-1].accuracy == 1
    assert accuracy(model, training + held_out, PREPROCESSING, QUICK) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_the_same_seed_gives_the_same_weights(colours, fresh, workers):
    recipe = replace(QUICK, epochs=1, workers=workers)
    ends = []
    for run, seed in enumerate((0, 0, 1)):
        model = fresh()
        torch.manual_seed(100 + run)  # whatever was drawn before must not matter
        train(model, colours, replace(recipe, seed=seed))
        ends.append(torch.cat([value.flatten() for value in model.state_dict().values()]))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_every_step_is_reported_and_every_epoch_says_its_accuracy(colours, fresh):
    steps = train(fresh(), colours, QUICK)  # 24 photos: three batches of eight
    assert [(s.step, s.epoch) for s in steps if s.accuracy is None] == [
        (1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2),
    ]  # fmt: skip
    ends = [s for s in steps if s.accuracy is not None]
    assert [(s.step, s.epoch) for s in ends] == [(3, 1), (6, 2)]
    assert {s.steps for s in steps} == {6}
    means = [sum(s.loss for s in steps if s.accuracy is None and s.epoch == e) / 3 for e in (1, 2)]
    assert [s.loss for s in ends] == pytest.approx(means)
    assert means[1] < means[0]


def test_a_frozen_backbone_does_not_move(colours, fresh):
    model = fresh()
    model.freeze_backbone()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, colours, replace(QUICK, epochs=1))
    moved = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert moved == {"head.weight", "head.bias"}


def test_fewer_photos_than_a_batch_still_train(colours, fresh):
    steps = train(fresh(), colours, replace(QUICK, epochs=1, batch_size=64))
    assert steps[-1].step == 1


def test_the_rest_of_a_batch_is_left_for_another_epoch(colours, fresh):
    steps = train(fresh(), colours, replace(QUICK, epochs=1, batch_size=10))
    assert steps[-1].steps == 2


def test_dropout_acts_while_training_and_not_while_scoring(colours, fresh, monkeypatch):
    model = fresh()
    modes = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda x: (modes.append(model.training), forward(x))[1])
    train(model, colours, replace(QUICK, batch_size=24))
    assert modes == [True, False, True, False]


def test_every_step_starts_from_a_clean_gradient_and_clips_it(colours, fresh, monkeypatch):
    """The gradient that the optimiser sees is that of its own batch, of norm one at the most."""
    norms = []
    step = torch.optim.AdamW.step

    def spy(self, *args, **kwargs):
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(torch.cat([gradient.flatten() for gradient in gradients]).norm().item())
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    recipe = replace(QUICK, gradient_clip=0.01)
    train(fresh(), colours, recipe)
    assert max(norms) <= 0.01 + 1e-6
    assert len(norms) == 6
    still = replace(QUICK, learning_rate=1e-12, gradient_clip=1e9, augmentation=STILL)
    norms.clear()
    train(fresh(), (colours[0][:1], colours[1]), replace(still, epochs=3))
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-3)


def test_the_learning_rate_follows_the_schedule(colours, fresh, monkeypatch):
    """Six steps, four of them to warm up: ¼, ½, ¾, 1, and the first two of a cosine to zero."""
    rates = []
    step = torch.optim.AdamW.step

    def spy(self, *args, **kwargs):
        rates.append(max(group["lr"] for group in self.param_groups))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    train(fresh(), colours, QUICK)
    top = QUICK.learning_rate * QUICK.head_factor
    assert rates == pytest.approx([top * f for f in (0.25, 0.5, 0.75, 1.0, 1.0, 0.5)])


def test_the_loss_is_smoothed_as_the_recipe_says(colours, fresh):
    """A head of zeros is undecided: ln 2 with or without; a sure one pays for being sure."""
    one_red = ([sample for sample in colours[0] if sample[1] == 1][:1], colours[1])
    losses = []
    for smoothing in (0.0, 0.1):
        model = fresh()
        with torch.no_grad():
            model.head.weight.zero_()
            model.head.bias.copy_(torch.tensor([0.0, 10.0]))
        recipe = replace(QUICK, epochs=1, label_smoothing=smoothing)
        losses.append(train(model, one_red, recipe)[0].loss)
    sure, unsure = math.log1p(math.exp(-10)), 10 + math.log1p(math.exp(-10))
    assert losses == pytest.approx([sure, 0.95 * sure + 0.05 * unsure], abs=1e-5)


def test_bfloat16_learns_too_and_leaves_float32_weights(colours, fresh):
    model = fresh()
    assert train(model, colours, replace(QUICK, bfloat16=True))[-1].accuracy == 1
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
    mine = Augmentation(area=(0.5, 0.6))
    recipe = replace(QUICK, epochs=1, augmentation=mine)
    train(fresh(), colours, recipe)
    assert seen == [mine] * len(colours[0])
