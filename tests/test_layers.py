"""The parts of a Vision Transformer, each against its definition."""

import math

import pytest
import torch
from jaxtyping import TypeCheckError
from torch.nn import functional

from vit_demo.models.layers import (
    LayerScale,
    Mlp,
    PatchEmbedding,
    SelfAttention,
    UnfoldPatchEmbedding,
)
from vit_demo.trace import Trace


@pytest.mark.parametrize("size", [(32, 32), (16, 40), (37, 29)])
@pytest.mark.parametrize("bias", [True, False])
def test_flatten_and_project_equals_the_strided_convolution(size, bias):
    convolution = PatchEmbedding(8, 3, 12, bias=bias)
    unfolded = UnfoldPatchEmbedding.from_convolution(convolution)
    pixels = torch.randn(2, 3, *size)
    tokens = convolution(pixels)
    assert tokens.shape == (2, size[0] // 8, size[1] // 8, 12)
    torch.testing.assert_close(unfolded(pixels), tokens, rtol=1e-4, atol=1e-5)


def test_a_patch_becomes_a_token_at_its_own_row_and_column():
    embedding = PatchEmbedding(4, 3, 6)
    pixels = torch.randn(1, 3, 8, 12)
    alone = embedding(pixels[:, :, 4:8, 8:12])[0, 0, 0]
    torch.testing.assert_close(embedding(pixels)[0, 1, 2], alone)


def attend_by_definition(layer: SelfAttention, tokens: torch.Tensor) -> torch.Tensor:
    """softmax(QKᵀ/√d)V head by head, written with nothing but matrix products."""
    heads = layer.heads
    query, key, value = layer.qkv(tokens).chunk(3, dim=-1)
    d = query.shape[-1] // heads
    outputs = []
    for head in range(heads):
        own = slice(head * d, (head + 1) * d)
        scores = query[..., own] @ key[..., own].transpose(1, 2) / math.sqrt(d)
        outputs.append(torch.softmax(scores, dim=-1) @ value[..., own])
    return layer.proj(torch.cat(outputs, dim=-1))


@pytest.mark.parametrize(("heads", "head_width"), [(3, 8), (1, 24), (3, 5), (2, 20)])
@pytest.mark.parametrize("bias", [True, False])
def test_self_attention_is_its_definition_for_any_head_width(heads, head_width, bias):
    layer = SelfAttention(24, heads, head_width, bias, 0.0, 0.0)
    assert (layer.qkv.bias is not None) == bias
    assert layer.proj.weight.shape == (24, heads * head_width)
    tokens = 3 * torch.randn(2, 7, 24)
    torch.testing.assert_close(layer(tokens), attend_by_definition(layer, tokens))


@pytest.mark.parametrize("head_width", [8, 5])
def test_the_recorded_weights_are_those_that_mixed_the_values(head_width):
    trace = Trace()
    SelfAttention(24, 3, head_width, True, 0.0, 0.0)(3 * torch.randn(2, 7, 24), trace)
    (flow,) = trace.layers
    assert flow.scale == pytest.approx(1 / math.sqrt(head_width))
    torch.testing.assert_close(flow.weights() @ flow.value, flow.attn_output)


def test_what_is_recorded_is_the_pass_itself_and_no_copy():
    """A gradient of the output with respect to the recorded `attn_output` exists."""
    trace = Trace()
    layer = SelfAttention(24, 3, 8, True, 0.0, 0.0)
    out = layer(torch.randn(1, 5, 24), trace)
    (slope,) = torch.autograd.grad(out.sum(), trace.layers[0].attn_output)
    by_hand = (torch.ones(24) @ layer.proj.weight).reshape(3, 1, 8).expand(3, 5, 8)
    torch.testing.assert_close(slope[0], by_hand)


def test_attention_dropout_acts_in_training_only():
    layer = SelfAttention(24, 3, 8, True, 0.5, 0.0)
    tokens = torch.randn(1, 9, 24)
    layer.eval()
    assert torch.equal(layer(tokens), layer(tokens))
    layer.train()
    assert not torch.allclose(layer(tokens), layer(tokens))


@pytest.mark.parametrize(
    ("gelu", "definition"),
    [
        ("exact", lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2),
        (
            "tanh",
            lambda x: x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        ),
    ],
)
def test_gelu_is_the_one_that_was_asked_for(gelu, definition):
    mlp = Mlp(8, 16, gelu, 0.0).double()
    tokens = 2 * torch.randn(2, 3, 8, dtype=torch.float64)
    by_hand = mlp.fc2(definition(mlp.fc1(tokens)))
    torch.testing.assert_close(mlp(tokens), by_hand, rtol=0, atol=1e-12)


def test_the_two_gelus_differ_by_less_than_a_thousandth_but_differ():
    x = torch.linspace(-4, 4, 101)
    gap = (functional.gelu(x) - functional.gelu(x, approximate="tanh")).abs().max()
    assert 1e-4 < gap < 1e-3


def test_layer_scale_multiplies_channel_by_channel():
    scale = LayerScale(4, 0.5)
    assert torch.equal(scale(torch.ones(1, 2, 4)), torch.full((1, 2, 4), 0.5))
    scale.gamma.data = torch.tensor([1.0, 2.0, 0.0, -1.0])
    assert torch.equal(scale(torch.ones(1, 1, 4))[0, 0], scale.gamma)


def test_axes_are_checked_while_the_tests_run():
    """jaxtyping and beartype stand behind every annotation of the package."""
    with pytest.raises(TypeCheckError, match="pixels"):
        PatchEmbedding(8, 3, 12)(torch.zeros(3, 32, 32))
    with pytest.raises(TypeCheckError, match="tokens"):
        SelfAttention(24, 3, 8, True, 0.0, 0.0)(torch.zeros(2, 7, 24, dtype=torch.int64))
