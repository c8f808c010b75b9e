"""Explanations: every map is a distribution, and is what its paper says."""

import pytest
import torch

from vit_demo.errors import MethodError, OptionError
from vit_demo.explanations import METHODS, find_method, watch
from vit_demo.explanations.rollout import token_rollout
from vit_demo.flow import mean_heads


@pytest.fixture
def watched(tiny_model):
    """Two photos on a grid of 4 × 6 patches: a batch, and no square."""
    return watch(tiny_model, torch.randn(2, 3, 32, 48))


@pytest.fixture
def target():
    return torch.tensor([0, 1])


def dense_rollout(watched):
    """Rollout as the paper writes it: full matrices, multiplied layer by layer."""
    identity = torch.eye(watched.trace.layers[0].tokens)
    product = identity
    for layer in watched.trace.layers:
        product = (mean_heads(layer, slice(None)) + identity) / 2 @ product
    return product


@pytest.mark.parametrize("name", METHODS)
def test_every_map_is_a_distribution_over_the_grid(watched, target, name):
    heatmap = METHODS[name](watched, target, {})
    assert heatmap.shape == (2, 4, 6)
    assert (heatmap >= 0).all()
    torch.testing.assert_close(heatmap.sum(dim=(1, 2)), torch.ones(2))


def test_rollout_is_the_class_tokens_row_of_the_matrix_product(watched, target):
    row = dense_rollout(watched)[:, 0, 1:]
    expected = (row / row.sum(dim=-1, keepdim=True)).reshape(2, 4, 6)
    torch.testing.assert_close(METHODS["rollout"](watched, target, {}), expected)


def test_rollout_of_all_tokens_is_the_matrix_product(watched):
    everything = token_rollout(watched.trace, batch=2)
    torch.testing.assert_close(everything, dense_rollout(watched))
    torch.testing.assert_close(everything.sum(dim=-1), torch.ones(2, 25))


@pytest.mark.parametrize("layer", [1, 2, 3, -1, -3])
@pytest.mark.parametrize("head", [0, 1, 3])
def test_attention_is_the_class_tokens_row_of_one_layer(watched, target, layer, head):
    heatmap = METHODS["attention"](watched, target, {"layer": layer, "head": head})
    weights = watched.trace.layers[layer - 1 if layer > 0 else layer].weights()
    rows = weights[:, head - 1] if head else weights.mean(dim=1)
    expected = rows[:, 0, 1:] / rows[:, 0, 1:].sum(dim=-1, keepdim=True)
    torch.testing.assert_close(heatmap, expected.reshape(2, 4, 6))


@pytest.mark.parametrize("layer", [0, 4, -4])
def test_a_layer_outside_the_model_is_refused(watched, target, layer):
    with pytest.raises(OptionError, match=f"layer={layer}, but this checkpoint has layers 1 to 3"):
        METHODS["attention"](watched, target, {"layer": layer})


@pytest.mark.parametrize("head", [-1, 4])
def test_a_head_outside_the_model_is_refused(watched, target, head):
    with pytest.raises(OptionError, match=f"head={head}, but layer -1 has heads 1 to 3"):
        METHODS["attention"](watched, target, {"head": head})


def test_the_control_is_seeded_and_knows_no_photo(tiny_model, target):
    first, second = (watch(tiny_model, torch.randn(2, 3, 32, 32)) for _ in range(2))
    random = METHODS["random"]
    assert torch.equal(random(first, target, {"seed": 1}), random(second, target, {"seed": 1}))
    assert not torch.equal(random(first, target, {"seed": 1}), random(first, target, {"seed": 2}))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(tiny_model, target, seed):
    with pytest.raises(OptionError, match="a seed is a number from 0 to"):
        METHODS["random"](watch(tiny_model, torch.randn(2, 3, 32, 32)), target, {"seed": seed})


def test_a_batch_gives_what_each_photo_gives_alone(tiny_model, target):
    pixels = torch.randn(2, 3, 32, 32)
    both = watch(tiny_model, pixels)
    for name in ("rollout", "attention"):
        together = METHODS[name](both, target, {})
        for place in range(2):
            alone = METHODS[name](watch(tiny_model, pixels[place : place + 1]), target[:1], {})
            torch.testing.assert_close(together[place], alone[0])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("fails", [False, True])
def test_explaining_leaves_no_fingerprints(tiny_model, name, fails):
    """No gradient, no hook, no other mode, not a weight changed; after a failure too."""
    before = {key: value.clone() for key, value in tiny_model.state_dict().items()}
    watched = watch(tiny_model, torch.randn(1, 3, 32, 32))
    if fails:
        with pytest.raises(OptionError):
            METHODS[name](watched, torch.tensor([0]), {"no_such_option": 1})
    else:
        METHODS[name](watched, torch.tensor([0]), {})
    assert all(parameter.grad is None for parameter in tiny_model.parameters())
    for module in tiny_model.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
        assert not module.training
    assert all(torch.equal(value, before[key]) for key, value in tiny_model.state_dict().items())


def test_options_are_completed_and_checked():
    attention = METHODS["attention"]
    assert attention.options({"head": 2}) == {"layer": -1, "head": 2}
    with pytest.raises(OptionError, match="'attention' has no option 'depth'; its options: layer"):
        attention.options({"depth": 2})
    with pytest.raises(OptionError, match="'rollout' has no option 'head'; its options: none"):
        METHODS["rollout"].options({"head": 2})


def test_an_unknown_method_is_refused_with_the_likely_one():
    assert find_method("rollout") is METHODS["rollout"]
    with pytest.raises(MethodError, match="no method 'rolout'; did you mean 'rollout'?"):
        find_method("rolout")
    with pytest.raises(MethodError, match="choose one of: rollout, attention, random"):
        find_method("zzz")
