"""Relevance: whole matrices from other people's attentions and gradients give the same row."""

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


def product_of_raised(weights, slopes):
    """R − I of Chefer et al., as they write it: whole matrices, from the first layer to the last.

    The order of layers and gradients is that of the pass.
    """
    identity = torch.eye(weights[0].shape[-1])
    total = identity.expand(len(weights[0]), -1, -1)
    for attention, gradient in zip(weights, slopes, strict=True):
        raised = (attention * gradient).clamp(min=0).mean(dim=1)
        total = total + raised @ total
    return total - identity


def on_patches(rows, grid):
    patches = rows[:, -grid[0] * grid[1] :]
    return (patches / patches.sum(dim=1, keepdim=True)).reshape(len(rows), *grid)


def assert_same_map(found, expected):
    assert expected.std() > 0.01 * expected.max(), "a map that is all alike proves nothing"
    assert (found - expected).abs().max() <= 1e-5 * expected.max()


# Which tokens each family's logits are read from: (prefix, shares of prefix, share of patches).
READ = {
    "ViT": (1, [1.0], 0.0),
    "DeiT": (2, [1.0, 0.0], 0.0),
    "DeiT with teacher": (2, [0.5, 0.5], 0.0),
    "DINOv2": (1, [0.5], 0.5),
    "registers": (5, [0.5, 0.0, 0.0, 0.0, 0.0], 0.5),
}


@pytest.mark.parametrize("family", READ)
def test_it_is_what_transformers_own_attentions_and_gradients_give(tmp_path, family):
    theirs(tmp_path, family)
    oracle = getattr(oracles.transformers(), FAMILIES[family][0]).from_pretrained(
        tmp_path, attn_implementation="eager"
    )
    pixels = torch.randn(2, 3, 32, 32)
    output = oracle.eval()(pixels, output_attentions=True)
    score = output.logits[0, TARGET[0]] + output.logits[1, TARGET[1]]
    slopes = torch.autograd.grad(score, output.attentions)
    prefix, shares, on_each = READ[family]
    read = torch.tensor([*shares, *[on_each / 16] * 16])
    rows = read @ product_of_raised(output.attentions, slopes)
    assert output.attentions[0].shape[-1] == prefix + 16

    model = build(read_folder(tmp_path, "tiny"), "tiny").model
    found = METHODS["relevance"](run_with_trace(model, pixels), TARGET, {})
    assert_same_map(found, on_patches(rows.detach(), (4, 4)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_vit_gives_its_row_of_the_matrix_product(tiny_config, make_model, variant):
    """Registers, unplaced prefixes, means and pooling by attention; two photos, no squares."""
    model = make_model(replace(tiny_config, **VARIANTS[variant])).requires_grad_(False)
    pixels = torch.randn(2, 3, 32, 48)
    with oracles.spelled_out_attention() as weights:
        logits = model(pixels)
        slopes = torch.autograd.grad(logits[0, 0] + logits[1, 3], weights)
    depth, config = model.config.depth, model.config
    if config.pooling == "attention":
        pooled = (weights[depth] * slopes[depth]).clamp(min=0).mean(dim=1)[:, 0]
        rows = pooled @ torch.eye(config.prefix + 24)[config.prefix :]
        rows = rows + (rows[:, None] @ product_of_raised(weights[:depth], slopes[:depth]))[:, 0]
    else:
        shares = model._read_shares(config.prefix + 24)
        read = torch.tensor([shares.get(token, 0.0) for token in range(config.prefix + 24)])
        rows = read @ product_of_raised(weights, slopes)
    found = METHODS["relevance"](run_with_trace(model, pixels), TARGET, {})
    assert_same_map(found, on_patches(rows.detach(), (4, 6)))


@pytest.mark.parametrize("convention", ["transformers", "timm"])
def test_in_swin_windows_and_merging_compose_as_whole_matrices(convention):
    """The mixing of every flow as a matrix, without `apply_transpose`, with padding and shifts."""
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
    """Two heads that pull a token's score up and down alike must not cancel out."""
    weights = torch.full((1, 2, 2, 2), 0.5)
    scores = torch.zeros(1, 2, 2, 1)
    value = torch.eye(2).expand(1, 2, 2, 2)
    layer = Attention(scores, scores, value, weights, torch.arange(2)[None], 2, scale=1.0)
    gradient = torch.stack([torch.ones(2, 2), -torch.ones(2, 2)])[None]
    raised = positive_grad_x_attention({layer: gradient})(layer, slice(None))
    torch.testing.assert_close(raised, torch.full((1, 2, 2), 0.25))


def test_gradients_of_the_wrong_layers_would_show(tiny_model):
    """A gradient list in the opposite order, a fault seen elsewhere, gives another map."""
    pixels = torch.randn(2, 3, 32, 32)
    with oracles.spelled_out_attention() as weights:
        logits = tiny_model(pixels)
        slopes = torch.autograd.grad(logits[0, 0] + logits[1, 3], weights)
    right, wrong = (
        on_patches(product_of_raised(weights, order)[:, 0].detach(), (4, 4))
        for order in (slopes, slopes[::-1])
    )
    found = METHODS["relevance"](run_with_trace(tiny_model, pixels), TARGET, {})
    assert_same_map(found, right)
    assert (found - wrong).abs().max() > 0.05 * right.max()


def test_another_class_has_another_map(tiny_model):
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
def test_a_real_checkpoints_relevance_is_that_of_transformers_own_gradients(shared):
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
    slopes = torch.autograd.grad(output.logits[0, 2], output.attentions)
    rows = product_of_raised(output.attentions, slopes)[:, 0].detach()
    found = explain(load(str(folder)), photo, "relevance", target="roses")
    assert_same_map(found.heatmap[None], on_patches(rows, (16, 16)))
