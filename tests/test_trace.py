"""Flows are linear maps: their algebraic properties, and two cases computed by hand."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vit_demo.errors import ConfigError
from vit_demo.trace import (
    Attention,
    LinearMixing,
    Trace,
    mean_heads,
    one_head,
    propagate_back,
)

HALF = 0.5

# One group of all tokens; two groups with one empty slot; three groups, out of order, with two.
INDICES = {
    "dense": [[0, 1, 2, 3, 4, 5, 6]],
    "groups": [[0, 1, 2, -1], [3, 4, 5, 6]],
    "shuffled": [[6, 0, 3], [2, -1, 5], [1, 4, -1]],
}
TOKENS, BATCH, HEADS = 7, 2, 3


def attention(index: list[list[int]], seed: int = 0) -> tuple[Attention, Tensor]:
    """An attention layer with the fused kernel's own output, and the values token by token."""
    tokens_in_slots = torch.tensor(index)
    groups, slots = tokens_in_slots.shape
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    values = random(BATCH, HEADS, TOKENS, 5)
    empty = torch.zeros(BATCH, HEADS, 1, 5, dtype=torch.float64)
    value = torch.cat([values, empty], dim=2)[:, :, tokens_in_slots]  # b heads groups slots d
    value = value.transpose(1, 2).reshape(BATCH * groups, HEADS, slots, 5)
    query, key = 2 * random(2, BATCH * groups, HEADS, slots, 4)
    attn_output = functional.scaled_dot_product_attention(query, key, value)
    layer = Attention(query, key, value, attn_output, tokens_in_slots, TOKENS, scale=4**-0.5)
    return layer, values


def by_token(layer: Attention) -> Tensor:
    """The fused kernel's output, copied from the slots to the tokens: b heads n d."""
    out = torch.zeros(BATCH, HEADS, TOKENS, layer.attn_output.shape[-1], dtype=torch.float64)
    groups, slots = layer.index.shape
    for b in range(BATCH):
        for group in range(groups):
            for slot in range(slots):
                token = int(layer.index[group, slot])
                if token >= 0:
                    out[b, :, token] += layer.attn_output[b * groups + group, :, slot]
    return out


def full_matrix(layer: Attention) -> Tensor:
    """The mixing of a flow as one matrix: its transpose applied to the identity."""
    eye = torch.eye(TOKENS, dtype=torch.float64).expand(BATCH, -1, -1)
    return layer.apply_transpose(eye, mean_heads)


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
@pytest.mark.parametrize("head", range(HEADS))
def test_apply_transpose_is_the_adjoint_of_the_fused_kernel(index, head):
    """⟨w, mix v⟩ = ⟨mixᵀ w, v⟩ for any weights w, compared with the kernel's own output."""
    layer, values = attention(index)
    weight = torch.randn(BATCH, 4, TOKENS, dtype=torch.float64)
    of_outputs = weight @ by_token(layer)[:, head]
    of_inputs = layer.apply_transpose(weight, lambda flow, rows: flow.weights(rows)[:, head])
    of_inputs = of_inputs @ values[:, head]
    torch.testing.assert_close(of_inputs, of_outputs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
@pytest.mark.parametrize("rule", [mean_heads, one_head(1)], ids=["mean", "one"])
def test_the_rules_are_the_kernels_weights_without_padding(index, rule):
    """For each slot: the weights on real tokens, normalized to a sum of one."""
    layer, _ = attention(index)
    weights = layer.weights()
    mixing = weights.mean(dim=1) if rule is mean_heads else weights[:, 1]
    groups = len(layer.index)
    for window, found in enumerate(rule(layer, slice(None))):
        real = layer.index[window % groups] >= 0
        for slot in real.nonzero()[:, 0]:
            kept = mixing[window, slot] * real
            torch.testing.assert_close(found[slot], kept / kept.sum())


def test_without_padding_mean_heads_is_the_mean_of_the_single_heads():
    layer, _ = attention(INDICES["dense"])
    weight = torch.rand(BATCH, 2, TOKENS, dtype=torch.float64)
    heads = [layer.apply_transpose(weight, one_head(head)) for head in range(HEADS)]
    torch.testing.assert_close(
        layer.apply_transpose(weight, mean_heads), torch.stack(heads).mean(dim=0)
    )


def test_a_bias_is_added_to_the_scores_and_minus_infinity_masks():
    """Against the fused kernel with the same bias as its mask; one bias per group and head."""
    layer, _ = attention(INDICES["shuffled"])
    bias = torch.randn(3, HEADS, 3, 3, dtype=torch.float64)
    bias[1, :, 0, 2] = -torch.inf
    biased = replace(layer, bias=bias)
    attn_output = functional.scaled_dot_product_attention(
        layer.query, layer.key, layer.value, attn_mask=bias.repeat(BATCH, 1, 1, 1)
    )
    torch.testing.assert_close(biased.weights() @ layer.value, attn_output)
    torch.testing.assert_close(biased.weights(slice(1, 3)), biased.weights()[:, :, 1:3])
    masked = biased.weights().unflatten(0, (BATCH, 3))[:, 1, :, 0, 2]
    assert not masked.any()


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_weights_are_distributions_and_give_the_fused_kernels_output(index):
    layer, _ = attention(index)
    weights = layer.weights()
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones_like(weights[..., 0]))
    torch.testing.assert_close(weights @ layer.value, layer.attn_output)


def test_weights_of_some_rows_are_those_rows_of_all_weights():
    layer, _ = attention(INDICES["dense"])
    torch.testing.assert_close(layer.weights(slice(2, 5)), layer.weights()[:, :, 2:5])


def test_self_attention_computed_by_hand():
    """Three tokens, no scaling. Scores QKᵀ = [[2, 4, 4], [4, 16, 12], [4, 12, 10]].

    First row: softmax = (e⁻², 1, 1) / (2 + e⁻²) = (0.0634, 0.4683, 0.4683), so the output is
    0.0634·(1, 2, 3) + 0.4683·(2, 8, 0) + 0.4683·(2, 6, 3) = (1.9366, 6.6831, 1.5951).
    """
    query = torch.tensor([[1.0, 0, 2], [2, 2, 2], [2, 1, 3]])[None, None]
    key = torch.tensor([[0.0, 1, 1], [4, 4, 0], [2, 3, 1]])[None, None]
    value = torch.tensor([[1.0, 2, 3], [2, 8, 0], [2, 6, 3]])[None, None]
    attn_output = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    layer = Attention(query, key, value, attn_output, torch.arange(3)[None], tokens=3, scale=1.0)
    weights = torch.tensor(
        [[0.0634, 0.4683, 0.4683], [0.0000, 0.9820, 0.0180], [0.0003, 0.8805, 0.1192]]
    )
    outputs = torch.tensor(
        [[1.9366, 6.6831, 1.5951], [2.0000, 7.9640, 0.0540], [1.9997, 7.7599, 0.3584]]
    )
    torch.testing.assert_close(layer.weights()[0, 0], weights, rtol=0, atol=5e-5)
    torch.testing.assert_close(layer.attn_output[0, 0], outputs, rtol=0, atol=5e-5)
    rows = layer.apply_transpose(torch.eye(3)[None], mean_heads)[0]
    torch.testing.assert_close(rows @ value[0, 0], outputs, rtol=0, atol=5e-5)


def attends_to(token: int) -> Attention:
    """Two tokens that both attend to one of them only."""
    key = torch.zeros(1, 1, 2, 1)
    key[0, 0, token] = 1
    query = torch.full((1, 1, 2, 1), 1000.0)
    value = torch.zeros(1, 1, 2, 1)
    return Attention(query, key, value, value, torch.tensor([[0, 1]]), tokens=2, scale=1.0)


def test_rollout_computed_by_hand():
    """½A + ½I = [[½, ½], [0, 1]], and its square is [[¼, ¾], [0, 1]]."""
    rows = propagate_back([attends_to(1), attends_to(1)], torch.eye(2)[None])
    torch.testing.assert_close(rows[0], torch.tensor([[0.25, 0.75], [0.0, 1.0]]))


def test_rollout_goes_from_the_last_layer_to_the_first():
    """First all attend to 1, then to 0: [[1, 0], [½, ½]]·[[½, ½], [0, 1]], not the reverse."""
    rows = propagate_back([attends_to(1), attends_to(0)], torch.eye(2)[None])
    torch.testing.assert_close(rows[0], torch.tensor([[0.5, 0.5], [0.25, 0.75]]))


def test_keep_weights_the_skip_connection_and_gain_the_layer():
    rows = propagate_back([attends_to(1)], torch.eye(2)[None], keep=1.0, gain=2.0)
    torch.testing.assert_close(rows[0], torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
    no_skip = LinearMixing(torch.tensor([[1], [0]]), torch.ones(2, 1), tokens=2)
    rows = propagate_back([no_skip], torch.eye(2)[None], keep=1.0, gain=2.0)
    torch.testing.assert_close(rows[0], torch.tensor([[0.0, 1.0], [1.0, 0.0]]))


def test_propagated_rows_equal_the_rows_of_the_full_matrix_product():
    """Abnar and Zuidema's algorithm multiplies whole matrices, the last layer leftmost."""
    layers = [attention(INDICES["dense"], seed)[0] for seed in range(4)]
    eye = torch.eye(TOKENS, dtype=torch.float64)
    product = eye.expand(BATCH, -1, -1)
    for layer in layers:
        product = (HALF * layer.weights().mean(dim=1) + HALF * eye) @ product
    weight = torch.rand(BATCH, 3, TOKENS, dtype=torch.float64)
    torch.testing.assert_close(propagate_back(layers, weight), weight @ product, rtol=0, atol=1e-14)


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_every_row_of_every_intermediate_product_is_a_distribution(index):
    layers = [attention(index, seed)[0] for seed in range(4)]
    for depth in range(1, 5):
        rows = propagate_back(
            layers[:depth], torch.eye(TOKENS, dtype=torch.float64).expand(BATCH, -1, -1)
        )
        assert (rows >= 0).all()
        torch.testing.assert_close(rows.sum(dim=-1), torch.ones(BATCH, TOKENS).double())


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40), (8, 56)])
def test_rollout_of_a_batch_on_rectangles_sums_to_one(tiny_model, height, width):
    trace = Trace()
    tiny_model(torch.randn(3, 3, height, width), trace)
    behind_prefix = propagate_back(trace.flows[1:], torch.ones(3, 1, 1))
    assert behind_prefix.shape == (3, 1, 1 + height * width // 64)
    torch.testing.assert_close(behind_prefix.sum(dim=-1), torch.ones(3, 1))
    on_patches = propagate_back(trace.flows, torch.ones(3, 1, 1))
    assert trace.grid == (height // 8, width // 8)
    torch.testing.assert_close(on_patches, behind_prefix[:, :, 1:])


def test_a_batch_of_two_equals_two_batches_of_one(tiny_model):
    pixels = torch.randn(2, 3, 32, 40)
    rows = []
    for part in (pixels, pixels[:1], pixels[1:]):
        trace = Trace()
        tiny_model(part, trace)
        rows.append(propagate_back(trace.flows, torch.ones(len(part), 1, 1)))
    assert not torch.allclose(rows[1], rows[2])
    torch.testing.assert_close(rows[0], torch.cat(rows[1:]))


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_chunks_change_nothing(index, monkeypatch):
    layer, _ = attention(index)
    weight = torch.rand(BATCH, 3, TOKENS, dtype=torch.float64)
    whole = layer.apply_transpose(weight, mean_heads)
    monkeypatch.setattr("vit_demo.trace.CHUNK_NUMBERS", 1)
    torch.testing.assert_close(layer.apply_transpose(weight, mean_heads), whole, rtol=0, atol=1e-14)


class Spy:
    """mean_heads that records how many weights each call computes."""

    def __init__(self):
        self.rows, self.numbers = [], []

    def __call__(self, layer, rows):
        weights = layer.weights(rows)
        self.rows.append(weights.shape[2])
        self.numbers.append(weights.numel())
        return weights.mean(dim=1)


def test_no_chunk_computes_more_weights_than_allowed(monkeypatch):
    layer, _ = attention(INDICES["dense"])
    allowed = 2 * BATCH * HEADS * TOKENS  # two rows
    monkeypatch.setattr("vit_demo.trace.CHUNK_NUMBERS", allowed)
    spy = Spy()
    layer.apply_transpose(torch.rand(BATCH, 3, TOKENS, dtype=torch.float64), spy)
    assert spy.rows == [2, 2, 2, 1]
    assert max(spy.numbers) <= allowed


def test_one_class_token_costs_one_row():
    layer, _ = attention(INDICES["dense"])
    weight = torch.zeros(BATCH, 1, TOKENS, dtype=torch.float64)
    weight[:, :, 0] = 1
    spy = Spy()
    on_inputs = layer.apply_transpose(weight, spy)
    assert spy.rows == [1]
    torch.testing.assert_close(on_inputs, full_matrix(layer)[:, :1])


def test_negative_weights_are_propagated_too():
    """Also if the other weight vectors of the call are zero at that token."""
    layer, _ = attention(INDICES["dense"])
    weight = torch.zeros(BATCH, 2, TOKENS, dtype=torch.float64)
    weight[:, 0, 3] = -1
    on_inputs = layer.apply_transpose(weight, mean_heads)
    torch.testing.assert_close(on_inputs[:, 0], -full_matrix(layer)[:, 3])
    assert not on_inputs[:, 1].any()


def test_zero_weights_map_to_zero_weights():
    layer, _ = attention(INDICES["groups"])
    zeros = torch.zeros(BATCH, 2, TOKENS, dtype=torch.float64)
    assert torch.equal(layer.apply_transpose(zeros, mean_heads), zeros)


def test_a_linear_mixing_distributes_weight_over_the_children_by_their_shares():
    """Three outputs over four inputs; the last output has one child only."""
    index = torch.tensor([[0, 1], [1, 2], [3, -1]])
    share = torch.tensor([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
    mixing = LinearMixing(index, share, tokens=4)
    on_inputs = mixing.apply_transpose(torch.tensor([[[1.0, 2.0, 4.0]]]), mean_heads)
    torch.testing.assert_close(on_inputs, torch.tensor([[[0.5, 1.0, 1.5, 4.0]]]))


def test_the_share_of_padding_is_dropped():
    mixing = LinearMixing(torch.tensor([[0, -1]]), torch.tensor([[0.5, 0.5]]), tokens=2)
    on_inputs = mixing.apply_transpose(torch.ones(1, 1, 1), mean_heads)
    torch.testing.assert_close(on_inputs, torch.tensor([[[0.5, 0.0]]]))


def test_dense_attention_gives_the_same_as_reordered_tokens():
    """The dense path skips the index; with shuffled tokens the indexed path must agree."""
    dense, _ = attention(INDICES["dense"])
    order = torch.randperm(TOKENS)
    moved = replace(
        dense,
        query=dense.query[:, :, order],
        key=dense.key[:, :, order],
        index=order[None],
    )
    assert dense.dense
    assert not moved.dense
    weight = torch.rand(BATCH, 2, TOKENS, dtype=torch.float64)
    for rule in (mean_heads, one_head(1)):
        torch.testing.assert_close(
            dense.apply_transpose(weight, rule), moved.apply_transpose(weight, rule)
        )


def test_a_used_trace_is_refused(tiny_model):
    trace = Trace()
    tiny_model(torch.zeros(1, 3, 32, 32), trace)
    flows = list(trace.flows)
    with pytest.raises(ConfigError, match="give every pass a new Trace"):
        tiny_model(torch.zeros(1, 3, 32, 32), trace)
    assert trace.flows == flows


def test_two_traces_share_nothing():
    first, second = Trace(), Trace()
    first.flows.append(attends_to(0))
    assert second.flows == []


def test_the_layers_of_a_trace_are_its_attentions_in_order(tiny_model):
    trace = Trace()
    tiny_model(torch.randn(1, 3, 32, 32), trace)
    assert len(trace.layers) == tiny_model.config.depth
    assert trace.layers == trace.flows[1:-1]
