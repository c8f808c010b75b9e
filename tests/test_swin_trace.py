"""Swin's flows: their support is the Jacobian's after every layer, and they are what they say."""

from collections.abc import Sequence
from dataclasses import replace

import oracles
import pytest
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from vit_demo import trace as flow_module
from vit_demo.models.swin import PatchMerging, Swin, SwinBlock, SwinConfig
from vit_demo.trace import (
    PADDING,
    Attention,
    Flow,
    LinearMixing,
    Rule,
    Trace,
    mean_heads,
    one_head,
    propagate_back,
)

# Grids of 12×12 and 6×6 tokens fit windows of 3 as they are; the others need padding somewhere.
CASES = {
    "whole": ((24, 24), (3, 3)),
    "odd": ((22, 22), (4, 4)),
    "odd and small window": ((14, 14), (2, 2)),
    "rectangle": ((18, 26), (4, 4)),
    "odd rectangle": ((26, 22), (4, 4)),
    "padding as wide as the shift": ((26, 14), (3, 3)),
    "one row of windows": ((10, 30), (4, 4)),
    "window of the whole grid": ((8, 22), (4, 4)),
}


def tiny(convention: str, image_size: tuple[int, int], window: tuple[int, int]) -> SwinConfig:
    return SwinConfig(
        classes=3,
        width=4,
        depths=(2, 2),
        heads=(1, 2),
        windows=(window, window),
        patch_size=2,
        image_size=image_size,
        convention=convention,
    )


def lively(config: SwinConfig) -> Swin:
    return oracles.randomise(Swin(config)).double()


def run_with_trace(model: Swin, pixels: Tensor) -> Trace:
    trace = Trace()
    with torch.no_grad():
        model(pixels, trace)
    return trace


class Unshifted(SwinConfig):
    """The same, but no window is ever shifted."""

    def tiling(self, stage, grid):
        return super().tiling(stage, grid)[0], (0, 0)


def layer_jacobians(
    model: nn.Module, entrance: nn.Module, layers: Sequence[type[nn.Module]], pixels: Tensor
) -> list[Tensor]:
    """How strongly every token after every layer answers to every token after `entrance`."""
    outputs: list[Tensor] = []
    inputs: list[Tensor] = []

    def enter(module, arguments, output):
        inputs.append(output.detach().requires_grad_())
        return inputs[0]

    def record(module, arguments, output):
        outputs.append(output[0] if isinstance(output, tuple) else output)

    handles = [entrance.register_forward_hook(enter)]
    handles += [m.register_forward_hook(record) for m in model.modules() if isinstance(m, layers)]
    model(pixels)
    for handle in handles:
        handle.remove()
    return [_strength(output, inputs[0]) for output in outputs]


def _strength(output: Tensor, entered: Tensor) -> Tensor:
    tokens = output.reshape(-1, output.shape[-1])
    direction = torch.randn_like(tokens[0])
    rows = [
        torch.autograd.grad(token @ direction, entered, retain_graph=True)[0].abs().sum(-1)
        for token in tokens
    ]
    return torch.stack(rows).flatten(start_dim=1)


def supports(flows: Sequence[Flow], layers: int) -> list[Tensor]:
    """Which input tokens each token holds a share of, after each of the first layers."""
    found = []
    for count in range(1, layers + 1):
        last = flows[count - 1]
        outputs = len(last.index) if isinstance(last, LinearMixing) else last.tokens
        found.append(propagate_back(flows[:count], torch.eye(outputs).double()[None])[0] > 0)
    return found


@pytest.mark.parametrize("convention", ["transformers", "timm"])
@pytest.mark.parametrize("case", CASES)
def test_support_is_the_jacobians_after_every_layer(convention, case):
    model = lively(tiny(convention, *CASES[case]))
    pixels = torch.randn(1, 3, *CASES[case][0]).double()
    strengths = layer_jacobians(model, model.patch_embed.norm, (SwinBlock, PatchMerging), pixels)
    flows = run_with_trace(model, pixels).flows
    assert len(strengths) == len(flows) - 1 == 5
    for true, ours in zip(strengths, supports(flows, len(strengths)), strict=True):
        assert torch.equal(true > 0, ours)


def controls(convention: str, case: str) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
    """The true supports, and those of flows that pad in the wrong order or never shift."""
    config = tiny(convention, *CASES[case])
    model = lively(config)
    pixels = torch.randn(1, 3, *config.image_size).double()
    other = "timm" if convention == "transformers" else "transformers"
    wrong = {
        "order": replace(config, convention=other),
        "shift": Unshifted(**vars(config)),
    }
    strengths = layer_jacobians(model, model.patch_embed.norm, (SwinBlock, PatchMerging), pixels)
    found = {}
    for name, changed in wrong.items():
        flawed = lively(changed)
        found[name] = supports(run_with_trace(flawed, pixels).flows, len(strengths))
    return [strength > 0 for strength in strengths], found


@pytest.mark.parametrize("convention", ["transformers", "timm"])
@pytest.mark.parametrize("case", ["odd", "rectangle", "odd rectangle"])
def test_flows_without_the_shift_or_padded_in_the_wrong_order_are_found_out(convention, case):
    true, found = controls(convention, case)
    for flawed in found.values():
        # The first layer shifts nothing; every later one must differ.
        assert torch.equal(true[0], flawed[0])
        assert not any(torch.equal(t, f) for t, f in zip(true[1:4], flawed[1:4], strict=True))


@pytest.mark.parametrize("size", [(28, 28), (36, 20)])
def test_support_is_that_of_transformers_own_jacobian(tmp_path, size):
    from test_swin import read_transformers, their_transformers

    arguments = {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_size": 3}
    theirs = their_transformers(tmp_path, **arguments, image_size=size).double()
    library = oracles.transformers().models.swin.modeling_swin
    pixels = torch.randn(1, 3, *size).double()
    layers = (library.SwinLayer, library.SwinPatchMerging)
    strengths = layer_jacobians(theirs, theirs.swin.embeddings.norm, layers, pixels)
    assert_same_support(
        strengths, run_with_trace(read_transformers(tmp_path).double(), pixels).flows
    )


@pytest.mark.parametrize("size", [(28, 28), (36, 20)])
def test_support_is_that_of_timms_own_jacobian(tmp_path, size):
    import timm.models.swin_transformer as library
    from test_swin import read_timm, their_timm

    arguments = {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_size": 3}
    theirs = their_timm(tmp_path, **arguments, img_size=size).double()
    pixels = torch.randn(1, 3, *size).double()
    layers = (library.SwinTransformerBlock, library.PatchMerging)
    strengths = layer_jacobians(theirs, theirs.patch_embed, layers, pixels)
    assert_same_support(strengths, run_with_trace(read_timm(tmp_path).double(), pixels).flows)


def assert_same_support(strengths: Sequence[Tensor], flows: Sequence[Flow]) -> None:
    """The libraries mask with −100, which leaves e⁻¹⁰⁰ behind; that is no support."""
    leak = 1e-30
    for strength, ours in zip(strengths, supports(flows, len(strengths)), strict=True):
        assert torch.equal(strength > leak, ours)


@pytest.fixture(params=["transformers", "timm"])
def traced(request):
    """A trace of two photos of odd size, padded and shifted."""
    config = tiny(request.param, (22, 30), (4, 4))
    return run_with_trace(lively(config), torch.randn(2, 3, 22, 30).double())


def mix(flow: Flow, values: Tensor, rule: Rule = mean_heads) -> Tensor:
    """The mixing itself, slot by slot, written without `apply_transpose`."""
    slots = functional.pad(values, (0, 1))[:, flow.index]
    if isinstance(flow, LinearMixing):
        return (slots * flow.share).sum(dim=-1)
    weights = rule(flow, slice(None))
    weights = rearrange(weights, "(b groups) rows slots -> b groups rows slots", b=len(values))
    attn_output = (weights @ slots[..., None])[..., 0]
    real = flow.index != PADDING
    out = torch.zeros_like(values)
    out[:, flow.index[real]] = attn_output[:, real]
    return out


def test_pull_is_the_adjoint_of_the_mixing(traced):
    for flow in traced.flows:
        values = torch.randn(2, flow.tokens).double()
        attn_output = mix(flow, values)
        weight = torch.randn(2, 1, attn_output.shape[1]).double()
        pulled = flow.apply_transpose(weight, mean_heads)
        torch.testing.assert_close(
            (weight[:, 0] * attn_output).sum(-1), (pulled[:, 0] * values).sum(-1)
        )


def test_weights_are_those_that_the_fused_kernel_used(traced):
    for flow in traced.layers:
        torch.testing.assert_close(flow.weights() @ flow.value, flow.attn_output)
        torch.testing.assert_close(flow.weights(slice(3, 5)), flow.weights()[:, :, 3:5])


@pytest.mark.parametrize("rule", [mean_heads, one_head(0)])
def test_every_token_hands_back_all_that_it_holds(traced, rule):
    for flow in traced.flows:
        count = len(flow.index) if isinstance(flow, LinearMixing) else flow.tokens
        rows = flow.apply_transpose(torch.eye(count).double().expand(2, -1, -1), rule)
        assert (rows >= 0).all()
        torch.testing.assert_close(rows.sum(dim=-1), torch.ones(2, count).double())


def test_memory_bounds_change_no_number(traced, monkeypatch):
    flow = traced.layers[1]
    weight = torch.randn(2, 2, flow.tokens).double()
    whole = flow.apply_transpose(weight, mean_heads)
    monkeypatch.setattr(flow_module, "CHUNK_NUMBERS", 1)
    torch.testing.assert_close(flow.apply_transpose(weight, mean_heads), whole)


@pytest.mark.parametrize("convention", ["transformers", "timm"])
def test_rollout_sums_to_one_and_photos_do_not_mix(convention):
    model = lively(tiny(convention, (22, 30), (4, 4)))
    pixels = torch.randn(3, 3, 22, 30).double()
    together = run_with_trace(model, pixels)
    rollout = propagate_back(together.flows, torch.ones(3, 1, 1).double())
    assert together.grid == (11, 15)
    assert rollout.shape == (3, 1, 165)
    torch.testing.assert_close(rollout.sum(dim=-1), torch.ones(3, 1).double())
    for number in range(3):
        alone = run_with_trace(model, pixels[number : number + 1])
        torch.testing.assert_close(
            propagate_back(alone.flows, torch.ones(1, 1, 1).double())[0], rollout[number]
        )


@pytest.mark.parametrize("convention", ["transformers", "timm"])
def test_watching_changes_no_bit(convention):
    model = lively(tiny(convention, (22, 30), (4, 4))).float()
    pixels = torch.randn(2, 3, 22, 30)
    with torch.no_grad():
        assert torch.equal(model(pixels, Trace()), model(pixels))


def test_only_shifted_blocks_keep_slots_apart():
    layers = run_with_trace(
        lively(tiny("timm", (24, 24), (3, 3))), torch.randn(1, 3, 24, 24).double()
    ).layers
    assert [bool(layer.bias.isinf().any()) for layer in layers] == [False, True, False, True]
    assert all(isinstance(layer, Attention) and layer.residual for layer in layers)
