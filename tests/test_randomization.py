"""Randomization: which parts are randomized, in which order, and how the map changes."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from test_occlusion import mobile, swin

from vit_demo.errors import ConfigError
from vit_demo.explanations import METHODS, Method
from vit_demo.faithfulness.randomization import parts_of, randomize_cascade, rank_correlation

PIXELS = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def similarity(method, model, **given):
    return {
        step.part: step.value
        for step in randomize_cascade(METHODS[method], model, PIXELS, 1, {}, **given)
    }


def test_parts_start_with_the_head_and_include_every_parameter(tiny_model):
    assert parts_of(tiny_model) == [
        "head", "norm", "blocks.2", "blocks.1", "blocks.0", "patch_embed", "pos_embed", "cls_token"
    ]  # fmt: skip
    stages = parts_of(swin()[0])
    assert stages[0] == "head"
    assert stages.index("layers.1.blocks.0") < stages.index("layers.0.blocks.1")
    assert parts_of(mobile()[0])[0].startswith(("head", "classifier"))


def test_rank_correlation_by_hand():
    one = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert rank_correlation(one, one.exp()) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)
    # Two swapped neighbours: 1 − 6 · (1 + 1) / (4 · 15).
    swapped = torch.tensor([[2.0, 1.0], [3.0, 4.0]])
    assert rank_correlation(one, swapped) == pytest.approx(0.8)
    # Equal values share the mean of their ranks: (1, 2½, 2½, 4) against (1, 2, 3, 4).
    tied = torch.tensor([[0.0, 5.0], [5.0, 9.0]])
    assert rank_correlation(one, tied) == pytest.approx(4.5 / (5 * 4.5) ** 0.5)
    assert rank_correlation(one, torch.ones(2, 2)) is None


def test_a_map_without_a_class_does_not_depend_on_the_head(tiny_model):
    found = similarity("rollout", tiny_model)
    assert list(found) == parts_of(tiny_model)
    assert found["head"] == found["norm"] == pytest.approx(1)
    assert found["blocks.0"] < 0.9


@pytest.mark.parametrize("method", ["relevance", "legrad", "occlusion"])
def test_a_class_specific_map_depends_on_the_head(tiny_model, method):
    assert similarity(method, tiny_model, parts=["head"])["head"] < 0.95


def test_the_model_is_not_changed_and_the_seed_decides_the_random_weights(tiny_model):
    before = deepcopy(tiny_model.state_dict())
    first, again, other = (similarity("relevance", tiny_model, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    for name, tensor in tiny_model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_map_that_ignores_the_model_is_detected(tiny_model):
    def edges(traced, target):
        return torch.arange(16.0).reshape(1, 4, 4)

    ignorant = replace(METHODS["rollout"], name="edges", run=edges)
    assert isinstance(ignorant, Method)
    found = randomize_cascade(ignorant, tiny_model, PIXELS, 0, {})
    assert [step.value for step in found] == [pytest.approx(1)] * len(parts_of(tiny_model))


def test_selected_parts_are_reported_after_randomizing_all_parts_before_them(tiny_model):
    every = similarity("rollout", tiny_model)
    assert similarity("rollout", tiny_model, parts=["blocks.1"]) == {"blocks.1": every["blocks.1"]}
    with pytest.raises(ConfigError, match="no part 'block.1'; .*blocks.1"):
        similarity("rollout", tiny_model, parts=["block.1"])
