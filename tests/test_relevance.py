"""Relevance, compared with full matrix products of transformers' attentions and gradients."""

from dataclasses import replace

import oracles
import pytest
import torch
from test_swin_trace import lively, mix, tiny
from test_transformers import FAMILIES, theirs
from test_vit import VARIANTS

from vit_demo.checkpoints import read_folder
from vit_demo.checkpoints.checkpoint import build
from vit_demo.errors import MethodError
from vit_demo.explanations import METHODS, run_with_trace
from vit_demo.explanations.relevance import positive_grad_x_attention
from vit_demo.explanations.traced_pass import gradients_of
from vit_demo.trace import Attention, LinearMixing

TARGET = torch.tensor([0, 3])


def relevance_matrix(weights, gradients):
    """R − I of Chefer et al. as full matrices, from the first layer to the last.

    Weights and gradients are in the order of the forward pass.
    """
    identity = torch.eye(weights[0].shape[-1])
    total = identity.expand(len(weights[0]), -1, -1)
    for attention, gradient in zip(weights, gradients, strict=True):
        mixing = (attention * gradient).clamp(min=0).mean(dim=1)
        total = total + mixing @ total
    return total - identity


def on_patches(rows, grid):
    patches = rows[:, -grid[0] * grid[1] :]
    return (patches / patches.sum(dim=1, keepdim=True)).reshape(len(rows), *grid)


def assert_same_map(found, expected):
    assert expected.std() > 0.01 * expected.max(), "a uniform map proves nothing"
    assert (found - expected).abs().max() <= 1e-5 * expected.max()


# Which tokens the head of each family reads: (prefix, shares of prefix, total share of patches).
READ = {
    "ViT": (1, [1.0], 0.0),
    "DeiT": (2, [1.0, 0.0], 0.0),
    "DeiT with teacher": (2, [0.5, 0.5], 0.0),
    "DINOv2": (1, [0.5], 0.5),
    "registers": (5, [0.5, 0.0, 0.0, 0.0, 0.0], 0.5),
}


@pytest.mark.parametrize("family", READ)
def test_it_equals_relevance_of_transformers_attentions_and_gradients(tmp_path, family):
    theirs(tmp_path, family)
    oracle = getattr(oracles.transformers(), FAMILIES[family][0]).from_pretrained(
        tmp_path, attn_implementation="eager"
    )
    pixels = torch.randn(2, 3, 32, 32)
    output = oracle.eval()(pixels, output_attentions=True)
    score = output.logits[0, TARGET[0]] + output.logits[1, TARGET[1]]
    gradients = torch.autograd.grad(score, output.attentions)
    prefix, shares, on_each = READ[family]
    read = torch.tensor([*shares, *[on_each / 16] * 16])
    rows = read @ relevance_matrix(output.attentions, gradients)
    assert output.attentions[0].shape[-1] == prefix + 16

    model = build(read_folder(tmp_path, "tiny"), "tiny").model
    found = METHODS["relevance"](run_with_trace(model, pixels), TARGET, {})
    assert_same_map(found, on_patches(rows.detach(), (4, 4)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_vit_variant_gives_its_row_of_the_matrix_product(tiny_config, make_model, variant):
    """Registers, prefixes without positions, mean and attention pooling; two rectangular photos."""
    model = make_model(replace(tiny_config, **VARIANTS[variant])).requires_grad_(False)
    pixels = torch.randn(2, 3, 32, 48)
    with oracles.spelled_out_attention() as weights:
        logits = model(pixels)
        gradients = torch.autograd.grad(logits[0, 0] + logits[1, 3], weights)
    depth, config = model.config.depth, model.config
    if config.pooling == "attention":
        pooled = (weights[depth] * gradients[depth]).clamp(min=0).mean(dim=1)[:, 0]
        rows = pooled @ torch.eye(config.prefix + 24)[config.prefix :]
        rows = rows + (rows[:, None] @ relevance_matrix(weights[:depth], gradients[:depth]))[:, 0]
    else:
        shares = model._read_shares(config.prefix + 24)
        read = torch.tensor([shares.get(token, 0.0) for token in range(config.prefix + 24)])
        rows = read @ relevance_matrix(weights, gradients)
    found = METHODS["relevance"](run_with_trace(model, pixels), TARGET, {})
    assert_same_map(found, on_patches(rows.detach(), (4, 6)))


@pytest.mark.parametrize("convention", ["transformers", "timm"])
def test_in_swin_windows_and_merging_compose_like_full_matrices(convention):
    """Every flow is applied forward as a matrix, without `apply_transpose`; padded and shifted."""
    model = lively(tiny(convention, (22, 30), (4, 4)))
    pixels = torch.randn(2, 3, 22, 30).double()
    target = torch.tensor([0, 2])
    traced = run_with_trace(model, pixels, gradients=True)
    layers = traced.trace.layers
    rule = positive_grad_x_attention(gradients_of(traced.logits, target, layers))
    identity = torch.eye(11 * 15).double().expand(2, -1, -1)
    residual_weights, total = identity, identity
    with torch.no_grad():
        for flow in traced.trace.flows:
            columns = zip(total.unbind(dim=-1), residual_weights.unbind(dim=-1), strict=True)
            moved = [
                (mix(flow, every, rule), mix(flow, past)) if isinstance(flow, LinearMixing)
                else (every + mix(flow, every, rule), past)
                for every, past in columns
            ]  # fmt: skip
            total, residual_weights = (
                torch.stack(part, dim=-1) for part in zip(*moved, strict=True)
            )
        rows = (total - residual_weights)[:, 0]
        found = METHODS["relevance"](run_with_trace(model, pixels), target, {})
    assert_same_map(found, on_patches(rows, (11, 15)))


def test_relu_comes_before_the_mean_over_heads():
    """Two heads with opposite gradients must not cancel out."""
    weights = torch.full((1, 2, 2, 2), 0.5)
    scores = torch.zeros(1, 2, 2, 1)
    value = torch.eye(2).expand(1, 2, 2, 2)
    layer = Attention(scores, scores, value, weights, torch.arange(2)[None], 2, scale=1.0)
    gradient = torch.stack([torch.ones(2, 2), -torch.ones(2, 2)])[None]
    mixing = positive_grad_x_attention({layer: gradient})(layer, slice(None))
    torch.testing.assert_close(mixing, torch.full((1, 2, 2), 0.25))


def test_gradients_in_the_wrong_order_are_detected(tiny_model):
    """Reversing the gradients, a bug of some other implementations, gives a different map."""
    pixels = torch.randn(2, 3, 32, 32)
    with oracles.spelled_out_attention() as weights:
        logits = tiny_model(pixels)
        gradients = torch.autograd.grad(logits[0, 0] + logits[1, 3], weights)
    right, wrong = (
        on_patches(relevance_matrix(weights, order)[:, 0].detach(), (4, 4))
        for order in (gradients, gradients[::-1])
    )
    found = METHODS["relevance"](run_with_trace(tiny_model, pixels), TARGET, {})
    assert_same_map(found, right)
    assert (found - wrong).abs().max() > 0.05 * right.max()


def test_different_classes_have_different_maps(tiny_model):
    traced = run_with_trace(tiny_model, torch.randn(2, 3, 32, 32))
    maps = [METHODS["relevance"](traced, torch.tensor([c, c]), {}) for c in range(5)]
    for c in range(4):
        assert (maps[c] - maps[c + 1]).abs().max() > 0.01 * maps[c].max()


def test_a_class_that_no_attention_raises_is_refused(tiny_model):
    with torch.no_grad():
        tiny_model.head.weight.zero_()
    traced = run_with_trace(tiny_model, torch.randn(1, 3, 32, 32))
    with pytest.raises(MethodError, match="no patch has any weight"):
        METHODS["relevance"](traced, torch.tensor([0]), {})


@pytest.mark.shared
def test_relevance_of_a_real_checkpoint_equals_that_of_transformers_gradients(shared):
    from PIL import Image

    from vit_demo import explain, load

    folder = shared / "checkpoints" / "vit-small-patch14-flowers5"
    photo = next(iter(sorted((shared / "flower_photos" / "tulips").glob("*.jpg"))))
    library = oracles.transformers()
    oracle = library.AutoModelForImageClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    processor = library.AutoImageProcessor.from_pretrained(folder, backend="pil")
    output = oracle(**processor(Image.open(photo), return_tensors="pt"), output_attentions=True)
    gradients = torch.autograd.grad(output.logits[0, 2], output.attentions)
    rows = relevance_matrix(output.attentions, gradients)[:, 0].detach()
    found = explain(load(str(folder)), photo, "relevance", target="roses")
    assert_same_map(found.heatmap[None], on_patches(rows, (16, 16)))
