"""Weights brought from one shape of model to another keep their meaning."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from vit_demo.checkpoints.checkpoint import load_state_dict_strict
from vit_demo.models.vit import VisionTransformer
from vit_demo.training.adapt import adapt, fold_layer_scale, resample_patch_kernel


def adapted_model(tensors, old, new):
    model = VisionTransformer(new).eval()
    heads = {n: v for n, v in model.state_dict().items() if n.startswith("head.")}
    load_state_dict_strict(model, {**adapt(tensors, old, new), **heads}, "it")
    return model


def tokens_of(model, pixels):
    tokens = model.embed(pixels)
    for block in model.blocks:
        tokens = block(tokens)
    return model.norm(tokens)


def test_folding_layer_scale_changes_nothing_but_its_form(tiny_config, make_model):
    old = replace(tiny_config, layer_scale=0.1)
    scaled = make_model(old)
    folded = VisionTransformer(tiny_config).eval()
    folded.load_state_dict(fold_layer_scale(scaled.state_dict()))
    pixels = torch.randn(2, 3, 32, 32)
    assert not any(".ls" in name for name in folded.state_dict())
    torch.testing.assert_close(
        tokens_of(folded, pixels), tokens_of(scaled, pixels), rtol=1e-4, atol=1e-4
    )


def test_each_branch_is_folded_by_its_own_factor(tiny_config, make_model):
    tensors = make_model(replace(tiny_config, layer_scale=0.1)).state_dict()
    folded = fold_layer_scale(tensors)
    for branch, layer in (("ls1", "attn.proj"), ("ls2", "mlp.fc2")):
        gamma = tensors[f"blocks.2.{branch}.gamma"]
        weight = tensors[f"blocks.2.{layer}.weight"]
        for row in range(24):
            torch.testing.assert_close(
                folded[f"blocks.2.{layer}.weight"][row], weight[row] * gamma[row]
            )
        torch.testing.assert_close(
            folded[f"blocks.2.{layer}.bias"], tensors[f"blocks.2.{layer}.bias"] * gamma
        )


def test_layer_scale_stays(tiny_config, make_model):
    config = replace(tiny_config, layer_scale=0.1)
    tensors = make_model(config).state_dict()
    kept = adapt(tensors, config, config)
    assert torch.equal(kept["blocks.0.ls1.gamma"], tensors["blocks.0.ls1.gamma"])
    assert torch.equal(kept["blocks.0.mlp.fc2.weight"], tensors["blocks.0.mlp.fc2.weight"])


@pytest.mark.parametrize(("old", "new"), [(8, 12), (8, 16), (7, 9), (2, 3)])
def test_an_enlarged_patch_gives_the_same_token_as_before(old, new):
    """FlexiViT's property: ⟨new kernel, B·patch⟩ = ⟨kernel, patch⟩ for any patch."""
    kernel = torch.randn(6, 3, old, old, dtype=torch.float64)
    patches = torch.randn(5, 3, old, old, dtype=torch.float64)
    larger = functional.interpolate(patches, size=(new, new), mode="bicubic", antialias=True)
    before = functional.conv2d(patches, kernel)
    after = functional.conv2d(larger, resample_patch_kernel(kernel, new))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-9)


def test_a_smaller_kernel_answers_alike_on_patches_that_lose_nothing():
    """Made smaller, a kernel is the least-squares best; a flat patch loses nothing."""
    kernel = torch.rand(4, 3, 16, 16, dtype=torch.float64)
    flat = torch.rand(5, 3, 1, 1, dtype=torch.float64)
    before = functional.conv2d(flat.expand(-1, -1, 16, 16), kernel)
    after = functional.conv2d(flat.expand(-1, -1, 12, 12), resample_patch_kernel(kernel, 12))
    torch.testing.assert_close(after, before, rtol=0.02, atol=0)


def test_the_same_patch_size_keeps_the_kernel():
    kernel = torch.randn(4, 3, 8, 8)
    assert resample_patch_kernel(kernel, 8) is kernel
    assert resample_patch_kernel(kernel, 12).dtype == torch.float32


@pytest.mark.parametrize("distilled", [False, True])
def test_positions_keep_their_prefix_and_find_their_new_grid(tiny_config, make_model, distilled):
    old = replace(tiny_config, distilled=distilled)
    new = replace(old, image_size=(48, 24))
    tensors = make_model(old).state_dict()
    positions = adapt(tensors, old, new)["pos_embed"]
    assert positions.shape == (1, old.prefix + 6 * 3, 24)
    assert torch.equal(positions[:, : old.prefix], tensors["pos_embed"][:, : old.prefix])


def test_an_adapted_model_reads_its_new_size(tiny_config, make_model):
    new = replace(tiny_config, classes=2, patch_size=12, image_size=(48, 36))
    model = adapted_model(make_model(tiny_config).state_dict(), tiny_config, new)
    assert model(torch.randn(1, 3, 48, 36)).shape == (1, 2)


def test_heads_are_dropped_and_the_rest_is_kept(tiny_config, make_model):
    config = replace(tiny_config, distilled=True, representation=16)
    tensors = make_model(config).state_dict()
    kept = adapt(tensors, config, config)
    dropped = {name.split(".")[0] for name in tensors.keys() - kept.keys()}
    assert dropped == {"head", "head_dist", "pre_logits"}
    assert all(torch.equal(kept[name], tensors[name]) for name in kept)


def test_training_an_adapted_model_leaves_the_stored_weights_alone(tiny_config, make_model):
    """Otherwise a second run from the same checkpoint would start from the first one's end."""
    tensors = make_model(tiny_config).state_dict()
    before = {name: value.clone() for name, value in tensors.items()}
    model = adapted_model(tensors, tiny_config, tiny_config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    assert all(torch.equal(tensors[name], before[name]) for name in before)


def test_a_distillation_token_goes_with_its_place(tiny_config, make_model):
    """What is left is the model with that token's column of attention taken away."""
    old = replace(tiny_config, distilled=True)
    before = make_model(old)
    after = adapted_model(before.state_dict(), old, tiny_config)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        tokens = before.embed(pixels)
        torch.testing.assert_close(
            after.embed(pixels), torch.cat([tokens[:, :1], tokens[:, 2:]], dim=1)
        )
