"""The parts of a Vision Transformer, each against its definition."""

import math

import pytest
import torch
from jaxtyping import TypeCheckError
from torch.nn import functional

from vit_demo.models.layers import (
    DropPath,
    LayerScale,
    Mlp,
    PatchDropout,
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


def test_drop_path_drops_whole_samples_and_keeps_the_expectation():
    rate, samples = 0.4, 20_000
    out = DropPath(rate).train()(torch.ones(samples, 2, 3))
    assert torch.equal(out.amin(dim=(1, 2)), out.amax(dim=(1, 2)))
    kept = out[:, 0, 0] > 0
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 1 / (1 - rate)))
    five_sigma = 5 * math.sqrt(rate / (1 - rate) / samples)
    assert out.mean().item() == pytest.approx(1, abs=five_sigma)


@pytest.mark.parametrize("drop_path", [DropPath(0.4).eval(), DropPath(0.0).train()])
def test_drop_path_is_the_identity_in_use_and_at_rate_zero(drop_path):
    branch = torch.randn(4, 2, 3)
    assert torch.equal(drop_path(branch), branch)


def numbered(samples, tokens):
    """Tokens that say who they are."""
    return torch.arange(float(tokens))[None, :, None].expand(samples, tokens, 3).clone()


def test_patch_dropout_keeps_the_prefix_and_a_share_of_the_patches_each_once():
    kept = PatchDropout(0.25, prefix=2).train()(numbered(50, 2 + 8))
    assert kept.shape == (50, 2 + 6, 3)
    assert torch.equal(kept[:, :2], numbered(50, 2))
    for sample in kept[:, 2:, 0]:
        assert len(set(sample.tolist())) == 6
        assert set(sample.tolist()) <= set(range(2, 10))


def test_patch_dropout_leaves_out_other_patches_for_every_sample_and_all_alike_often():
    kept = PatchDropout(0.5, prefix=1).train()(numbered(4000, 1 + 4))[:, 1:, 0]
    assert len({tuple(sorted(sample.tolist())) for sample in kept}) == 6  # 4 choose 2
    shares = torch.bincount(kept.flatten().long(), minlength=5)[1:] / 4000
    assert shares.tolist() == pytest.approx([0.5] * 4, abs=5 * math.sqrt(0.25 / 4000))


@pytest.mark.parametrize("dropout", [PatchDropout(0.4, 1).eval(), PatchDropout(0.0, 1).train()])
def test_patch_dropout_is_the_identity_in_use_and_at_rate_zero(dropout):
    tokens = torch.randn(4, 5, 3)
    assert torch.equal(dropout(tokens), tokens)


def test_at_least_one_patch_stays():
    assert PatchDropout(0.9, prefix=1).train()(numbered(3, 1 + 2)).shape == (3, 2, 3)
