"""Invalid recipes are refused; valid ones are stored as JSON and read back."""

import json

import pytest

from vit_demo.data.augmentation import Augmentation
from vit_demo.errors import ConfigError
from vit_demo.training.recipe import Recipe, Stage


@pytest.mark.parametrize("name", ["epochs", "batch_size", "learning_rate", "head_learning_rate"])
def test_an_invalid_recipe_is_refused(name):
    zero = type(getattr(Recipe(), name))(0)
    with pytest.raises(ConfigError, match=f"{name}={zero}, but it must be above 0"):
        Recipe(**{name: zero})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head_epochs": -1}, "head_epochs=-1, but it must be 0 or more"),
        ({"mixup": -0.1}, "mixup=-0.1"),
        ({"ema_decay": 1.0}, r"ema_decay=1.0, but it must lie in \[0, 1\)"),
        ({"patch_dropout": 1.5}, "patch_dropout=1.5"),
    ],
)
def test_other_invalid_values_are_refused_too(change, words):
    with pytest.raises(ConfigError, match=words):
        Recipe(**change)


def test_the_head_is_trained_before_all_weights():
    assert Recipe(head_epochs=2, epochs=3).stages == (Stage("head", 2), Stage("all", 3))
    assert Recipe(head_epochs=0, epochs=3).stages == (Stage("all", 3),)
    assert [stage.frozen for stage in Recipe().stages] == [True, False]


def test_a_recipe_is_unchanged_by_a_json_round_trip():
    recipe = Recipe(mixup=0.2, augmentation=Augmentation(area=(0.5, 0.9), num_ops=2))
    assert Recipe.from_json(json.loads(json.dumps(recipe.as_json()))) == recipe
    with pytest.raises(ConfigError, match="no moonlight; it was written by another version"):
        Recipe.from_json({**recipe.as_json(), "moonlight": 1})


def test_single_numbers_can_be_changed_by_name():
    changed = Recipe().changed({"mixup": "0.2", "erase": "0.25", "num_ops": "2"})
    assert changed.mixup == 0.2
    assert (changed.augmentation.erase, changed.augmentation.num_ops) == (0.25, 2)
    assert Recipe().changed({"bfloat16": "false"}).bfloat16 is False
    assert Recipe().changed({}) == Recipe()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mixp": "0.2"}, "no 'mixp'; did you mean 'mixup'"),
        ({"area": "0.2"}, "no 'area'"),
        ({"mixup": "much"}, "mixup=much, but it must be a number"),
        ({"num_ops": "1.5"}, "num_ops=1.5, but it must be a whole number"),
        ({"bfloat16": "maybe"}, "must be true or false"),
        ({"mixup": "-1"}, "0 or more"),
    ],
)
def test_an_invalid_change_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        Recipe().changed(changes)
