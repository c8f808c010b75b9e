"""LeGrad, compared with its formula on transformers' attentions, and its limits."""

from dataclasses import replace

import oracles
import pytest
import torch
from test_mobilevit import MobileViT, MobileViTConfig
from test_swin_trace import lively, tiny
from test_vit import VARIANTS

from vit_demo.checkpoints import read_folder
from vit_demo.checkpoints.checkpoint import build
from vit_demo.errors import MethodError, OptionError
from vit_demo.explanations import METHODS, run_with_trace

TARGET = torch.tensor([0, 3])
LEGRAD = METHODS["legrad"]


def min_max(maps):
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low)


def paper_formula(scores, weights, grid):
    """Equations 5 to 8: ReLU of the gradients, mean over heads and queries, sum, min–max.

    `scores` are the class's, read from each of the last layers; `weights` those layers' attention.
    """
    total = torch.zeros(1)
    for score, attention in zip(scores, weights, strict=True):
        (gradient,) = torch.autograd.grad(score.sum(), attention, retain_graph=True)
        total = total + gradient.clamp(min=0).mean(dim=1).mean(dim=1)[:, -grid[0] * grid[1] :]
    return min_max(total.reshape(len(TARGET), *grid))


def of_target(logits):
    return logits.gather(1, TARGET[:, None])


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_it_equals_the_papers_formula_on_transformers_attentions(their_checkpoint, layers):
    folder = their_checkpoint(num_hidden_layers=3)
    oracle = oracles.transformers().ViTForImageClassification.from_pretrained(
        folder, attn_implementation="eager"
    )
    outputs = []
    handles = [
        module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
        for module in oracle.modules()
        if type(module).__name__ == "ViTLayer"
    ]
    pixels = torch.randn(2, 3, 32, 32)
    attentions = oracle.eval()(pixels, output_attentions=True).attentions
    for handle in handles:
        handle.remove()
    assert len(outputs) == len(attentions) == 3
    scores = [
        of_target(oracle.classifier(oracle.vit.layernorm(tokens)[:, 0])) for tokens in outputs
    ]
    expected = paper_formula(scores[-layers:], attentions[-layers:], (4, 4))
    model = build(read_folder(folder, "tiny"), "tiny").model
    found = LEGRAD(run_with_trace(model, pixels), TARGET, {"layers": layers})
    torch.testing.assert_close(min_max(found), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_vit_variant_follows_the_formula(tiny_config, make_model, variant):
    """On rectangular photos. With attention pooling, A is the attention of the pooling."""
    model = make_model(replace(tiny_config, **VARIANTS[variant])).requires_grad_(False)
    pixels = torch.randn(2, 3, 32, 48)
    with oracles.spelled_out_attention() as weights:
        tokens, scores = model.embed(pixels), []
        for block in model.blocks:
            tokens = block(tokens)
            scores.append(of_target(model.read(tokens)))
    # The head was read after every layer, so pooling weights alternate with each layer's own.
    attentions = weights[1::2] if model.config.pooling == "attention" else weights
    expected = paper_formula(scores[-2:], attentions[-2:], (4, 6))
    found = LEGRAD(run_with_trace(model, pixels), TARGET, {})
    torch.testing.assert_close(min_max(found), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("convention", ["transformers", "timm"])
def test_in_swin_the_map_of_the_last_stage_is_distributed_to_the_patches(convention):
    """Shifted and padded windows of the last stage: 6 × 8 tokens of up to four patches each."""
    model = lively(tiny(convention, (22, 30), (4, 4))).requires_grad_(False)
    pixels = torch.randn(2, 3, 22, 30).double()
    target = torch.tensor([0, 2])
    traced = run_with_trace(model, pixels)
    with oracles.spelled_out_attention() as weights:
        full = run_with_trace(model, pixels, gradients=True)
    total = torch.zeros(2, 48).double()
    outputs = list(full.trace.outputs.values())[-2:]
    layers = traced.trace.layers[-2:]
    for tokens, attention, layer in zip(outputs, weights[-2:], layers, strict=True):
        score = model.read(tokens).gather(1, target[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, attention, retain_graph=True)
        positive = gradient.clamp(min=0).mean(dim=1).unflatten(0, (2, -1))
        for group, slots in enumerate(layer.index):
            for query in (slots >= 0).nonzero()[:, 0]:
                for key in (slots >= 0).nonzero()[:, 0]:
                    total[:, slots[key]] += positive[:, group, query, key] / 48
    cells = total.reshape(2, 6, 8).repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    children = torch.full((12, 16), 4.0).double()
    children[10:], children[:, 14:], children[10:, 14:] = 2, 2, 1
    expected = min_max((cells / children)[:, :11, :15])
    found = LEGRAD(traced, target, {"layers": 9})
    torch.testing.assert_close(min_max(found), expected)


def test_its_minimum_is_zero_and_its_sum_is_one(tiny_model):
    found = LEGRAD(run_with_trace(tiny_model, torch.randn(2, 3, 32, 32)), TARGET, {})
    assert torch.equal(found.amin(dim=(1, 2)), torch.zeros(2))
    torch.testing.assert_close(found.sum(dim=(1, 2)), torch.ones(2))


def test_unsupported_models_and_layers_are_refused(tiny_model):
    mobile = MobileViT(MobileViTConfig(classes=5)).eval()
    assert "convolutions" in str(LEGRAD.unsupported_reason(type(mobile)))
    assert LEGRAD.unsupported_reason(type(tiny_model)) is None
    with pytest.raises(MethodError, match="'legrad' does not support this checkpoint: between"):
        LEGRAD(run_with_trace(mobile, torch.randn(2, 3, 64, 64)), TARGET, {})
    with pytest.raises(OptionError, match="layers=0, but it must be 1 or more"):
        LEGRAD(run_with_trace(tiny_model, torch.randn(2, 3, 32, 32)), TARGET, {"layers": 0})
