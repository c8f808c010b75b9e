"""A pass with gradients: exact gradients, the same logits, and no side effects."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import oracles
import pytest
import torch
from test_mobilevit import MobileViT, MobileViTConfig
from test_swin_trace import lively, tiny
from test_vit import VARIANTS

from vit_demo.errors import MethodError
from vit_demo.explanations import METHODS, TracedPass, run_with_trace
from vit_demo.explanations.traced_pass import attention_grad, gradients_of
from vit_demo.trace import Attention, LinearMixing, Trace

MODELS = [*VARIANTS, "Swin, transformers", "Swin, timm", "MobileViT"]


@pytest.fixture(params=MODELS)
def model_and_pixels(request, tiny_config, make_model):
    """A frozen model of every architecture, and two rectangular photos for it."""
    if request.param in VARIANTS:
        model = make_model(replace(tiny_config, **VARIANTS[request.param]))
        size = (32, 40)
    elif request.param == "MobileViT":
        sizes = {"widths": (8, 12, 16), "depths": (1, 2, 1), "channels_of_stages": (8,) * 5}
        model = oracles.randomise(MobileViT(MobileViTConfig(3, stem=8, features=12, **sizes)))
        size = (64, 96)
    else:
        model = lively(tiny(request.param.removeprefix("Swin, "), (22, 30), (4, 4))).float()
        size = (22, 30)
    return model.requires_grad_(False), torch.randn(2, 3, *size)


def test_gradients_equal_those_of_autograd_for_explicit_weights(model_and_pixels):
    """For every layer and pooling, compared with unfused attention."""
    model, pixels = model_and_pixels
    target = torch.tensor([1, 2])
    with oracles.spelled_out_attention() as weights:
        logits = model(pixels)
        expected = torch.autograd.grad(logits[0, 1] + logits[1, 2], weights)
    traced = run_with_trace(model, pixels, gradients=True)
    layers = [flow for flow in traced.trace.flows if isinstance(flow, Attention)]
    gradients = gradients_of(traced.logits, target, layers)
    assert len(layers) == len(weights)
    for layer, explicit, true in zip(layers, weights, expected, strict=True):
        torch.testing.assert_close(layer.weights(), explicit, rtol=1e-4, atol=1e-5)
        found = attention_grad(layer, gradients, slice(None))
        assert (found - true).abs().max() <= 1e-4 * true.abs().max().clamp(min=1e-3)


def test_tracing_with_gradients_gives_bit_identical_logits(model_and_pixels):
    model, pixels = model_and_pixels
    traced = run_with_trace(model, pixels, gradients=True)
    with torch.no_grad():
        assert torch.equal(traced.logits, model(pixels))
    assert all(layer.attn_output.requires_grad for layer in traced.trace.layers)


def test_a_pass_without_gradients_keeps_no_graph_even_with_trainable_weights(model_and_pixels):
    model, pixels = model_and_pixels
    traced = run_with_trace(model.requires_grad_(True), pixels)
    assert not traced.logits.requires_grad
    assert not any(layer.attn_output.requires_grad for layer in traced.trace.layers)
    assert not traced.trace.outputs


def test_a_pass_with_gradients_works_inside_no_grad_and_inference_mode(tiny_model):
    tiny_model.requires_grad_(False)
    pixels = torch.randn(1, 3, 32, 32)
    for disable_grad in (torch.no_grad, torch.inference_mode):
        with disable_grad():
            traced = run_with_trace(tiny_model, pixels.clone(), gradients=True)
            assert traced.logits.requires_grad
            assert not torch.is_grad_enabled()
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].class_specific])
@pytest.mark.parametrize("frozen", [True, False])
def test_callers_in_inference_mode_get_the_same_map(tiny_model, name, frozen):
    tiny_model.requires_grad_(not frozen)
    pixels = torch.randn(2, 3, 32, 32)
    expected = METHODS[name](run_with_trace(tiny_model, pixels), torch.tensor([0, 3]), {})
    with torch.inference_mode():
        inside = run_with_trace(tiny_model, pixels.clone())
        found = METHODS[name](inside, torch.tensor([0, 3]), {})
    torch.testing.assert_close(found, expected)


def test_residual_weights_bypass_all_attention(tiny_config, make_model):
    """A class token keeps weight one, a mean over patches its shares, attention pooling none."""
    for changes, on_layers, on_patches in (
        ({}, [1.0] + [0.0] * 16, [0.0] * 16),
        ({"pooling": "mean"}, [0.0] + [1 / 16] * 16, [1 / 16] * 16),
        ({"pooling": "attention"}, [0.0] * 17, [0.0] * 16),
    ):
        model = make_model(replace(tiny_config, **changes))
        traced = run_with_trace(model, torch.randn(1, 3, 32, 32))
        for flow, weight in traced.residual_weights():
            if isinstance(flow, Attention) and flow.residual:
                torch.testing.assert_close(weight[0, 0], torch.tensor(on_layers))
        first = traced.trace.flows[0]
        assert isinstance(first, LinearMixing)
        torch.testing.assert_close(
            first.apply_transpose(torch.tensor([[on_layers]]), lambda *_: None)[0, 0],
            torch.tensor(on_patches),
        )


def test_an_empty_map_is_refused(tiny_model):
    traced = run_with_trace(tiny_model, torch.randn(1, 3, 32, 32))
    with pytest.raises(MethodError, match="no patch has any weight"):
        traced.on_grid(torch.zeros(1, 1, 16))


def test_a_model_that_records_no_grid_raises_a_runtime_error(tiny_model):
    pixels = torch.zeros(1, 3, 32, 32)
    with pytest.raises(RuntimeError, match=r"its forward must call trace.begin"):
        _ = TracedPass(tiny_model, pixels, torch.zeros(1, 5), Trace()).grid


@pytest.mark.parametrize("name", METHODS)
def test_two_threads_with_two_photos_do_not_mix(tiny_model, name):
    tiny_model.requires_grad_(False)
    photos = [torch.randn(1, 3, 32, 32), torch.randn(1, 3, 24, 40)] * 2
    targets = [torch.tensor([target]) for target in (0, 1, 2, 3)]

    def explain(pixels, target):
        return METHODS[name](run_with_trace(tiny_model, pixels), target, {})

    alone = [explain(*pair) for pair in zip(photos, targets, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for one, found in zip(alone, pool.map(explain, photos, targets), strict=True):
                torch.testing.assert_close(found, one)
