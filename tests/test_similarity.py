"""Patch tokens: cosine similarity and principal components compared with numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_mobilevit import MobileViT, MobileViTConfig
from test_swin_trace import lively, tiny
from test_vit import VARIANTS

from vit_demo.errors import MethodError, OptionError
from vit_demo.explanations import run_with_trace
from vit_demo.explanations.similarity import patch_tokens, token_colors, token_similarity


@pytest.fixture
def states(tiny_config, make_model):
    """A model with registers, two rectangular photos, and the tokens after every layer."""
    model = make_model(replace(tiny_config, registers=3)).requires_grad_(False)
    pixels = torch.randn(2, 3, 32, 48)
    tokens, after = model.embed(pixels), []
    for block in model.blocks:
        tokens = block(tokens)
        after.append(tokens[:, 4:].unflatten(1, (4, 6)))
    return run_with_trace(model, pixels, hidden_states=True), after


@pytest.mark.parametrize("layer", [1, 3, -1, -3])
def test_the_tokens_are_those_after_a_layer_without_the_prefix(states, layer):
    traced, after = states
    found = patch_tokens(traced, layer)
    assert torch.equal(found, after[layer - 1 if layer > 0 else layer])


def test_similarity_is_the_cosine_to_one_patch(states):
    traced, after = states
    found = token_similarity(traced, (2, 5), layer=2)
    for photo in range(2):
        tokens = after[1][photo].numpy()
        query = tokens[2, 5]
        norms = np.linalg.norm(tokens, axis=-1) * np.linalg.norm(query)
        np.testing.assert_allclose(found[photo].numpy(), tokens @ query / norms, atol=1e-5)
    torch.testing.assert_close(found[:, 2, 5], torch.ones(2))


def test_a_second_photo_may_have_another_grid(tiny_model):
    one = run_with_trace(tiny_model, torch.randn(1, 3, 32, 48), hidden_states=True)
    other = run_with_trace(tiny_model, torch.randn(1, 3, 40, 16), hidden_states=True)
    found = token_similarity(one, (0, 3), other=other)
    query = patch_tokens(one)[0, 0, 3]
    expected = torch.cosine_similarity(patch_tokens(other)[0], query, dim=-1)
    assert found.shape == (1, 5, 2)
    torch.testing.assert_close(found[0], expected)


def by_numpy(tokens):
    """Center, take three right singular vectors, fix their signs, scale to 0 to 1."""
    flat = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:3]
    for direction in directions:
        direction *= np.sign(direction[np.abs(direction).argmax()])
    scores = centred @ directions.T
    scaled = (scores - scores.min(axis=0)) / (scores.max(axis=0) - scores.min(axis=0))
    return scaled.reshape(*tokens.shape[:2], 3)


@pytest.mark.parametrize("layer", [1, -1])
def test_colors_are_the_first_three_principal_components(states, layer):
    traced, after = states
    found = token_colors(traced, layer)
    tokens = after[layer - 1 if layer > 0 else layer].numpy()
    for photo in range(2):
        np.testing.assert_allclose(found[photo], by_numpy(tokens[photo]), atol=1e-4)
    assert torch.equal(found.amin(dim=(1, 2)), torch.zeros(2, 3))
    assert torch.equal(found.amax(dim=(1, 2)), torch.ones(2, 3))
    assert torch.equal(token_colors(traced, layer), found)


def test_the_colors_do_not_depend_on_the_sign_of_the_svd(states, monkeypatch):
    traced, _ = states
    expected = token_colors(traced)
    svd = torch.linalg.svd

    def negated(matrix, full_matrices):
        left, values, right = svd(matrix, full_matrices=full_matrices)
        return torch.return_types.linalg_svd((-left, values, -right))

    monkeypatch.setattr(torch.linalg, "svd", negated)
    torch.testing.assert_close(token_colors(traced), expected)


def test_constant_color_channels_are_one_half(tiny_model):
    """Two patches have one component; a single one has none."""
    two = run_with_trace(tiny_model, torch.randn(1, 3, 8, 16), hidden_states=True)
    colors = token_colors(two)[0]
    assert sorted(colors[0, :, 0].tolist()) == [0, 1]
    assert (colors[..., 1:] == 0.5).all()
    one = run_with_trace(tiny_model, torch.randn(1, 3, 8, 8), hidden_states=True)
    assert (token_colors(one) == 0.5).all()


def test_in_swin_patches_share_the_token_that_they_were_merged_into():
    model = lively(tiny("timm", (16, 24), (4, 4))).requires_grad_(False)
    pixels = torch.randn(1, 3, 16, 24).double()
    traced = run_with_trace(model, pixels, hidden_states=True)
    tokens = patch_tokens(traced)
    rows, cols = traced.grid
    last = traced.trace.outputs[traced.trace.layers[-1]]
    side = rows // 2
    expected = last.unflatten(1, (side, cols // 2))
    for row in range(rows):
        for col in range(cols):
            assert torch.equal(tokens[:, row, col], expected[:, row // 2, col // 2])


def test_unknown_patches_layers_and_unsupported_models_are_refused(states, tiny_config, make_model):
    traced, _ = states
    with pytest.raises(OptionError, match=r"no patch \(4, 0\); rows are 0 to 3 and columns 0 to 5"):
        token_similarity(traced, (4, 0))
    with pytest.raises(OptionError, match="layer=4, but this checkpoint has layers 1 to 3"):
        token_colors(traced, layer=4)
    another = make_model(replace(tiny_config, **VARIANTS["plain"]), seed=1)
    other = run_with_trace(another, torch.randn(2, 3, 32, 48), hidden_states=True)
    with pytest.raises(MethodError, match="two different models"):
        token_similarity(traced, (0, 0), other=other)
    mobile = MobileViT(MobileViTConfig(classes=5)).eval()
    traced = run_with_trace(mobile, torch.randn(1, 3, 64, 64), hidden_states=True)
    with pytest.raises(MethodError, match="convolutions between its layers"):
        patch_tokens(traced)


def test_a_pass_without_hidden_states_raises_a_runtime_error(tiny_model):
    with pytest.raises(RuntimeError, match="hidden_states=True"):
        patch_tokens(run_with_trace(tiny_model, torch.randn(1, 3, 32, 32)))
