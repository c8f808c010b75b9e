"""Position embeddings and patch filters: cases with a known result."""

from dataclasses import replace

import pytest
import torch
from test_mobilevit import MobileViT, MobileViTConfig

from vit_demo.errors import MethodError, OptionError
from vit_demo.explanations.weight_analysis import (
    cosines,
    patch_filters,
    position_similarity,
    principal_pictures,
)
from vit_demo.models.swin import Swin, SwinConfig


def test_cosines_computed_by_hand():
    """(0,0) and (0,1) are orthogonal, (1,0) is parallel to (0,0), (1,1) opposite to (0,1)."""
    positions = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0], [0.0, -3.0]])
    similarity = cosines(positions, (2, 2))
    torch.testing.assert_close(similarity[0, 0], torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    torch.testing.assert_close(similarity[0, 1], torch.tensor([[0.0, 1.0], [0.0, -1.0]]))


@pytest.mark.parametrize("changes", [{}, {"registers": 2, "prefix_positions": False}])
def test_similarity_uses_only_the_positions_of_patches(tiny_config, make_model, changes):
    model = make_model(replace(tiny_config, image_size=(24, 40), **changes))
    similarity = position_similarity(model)
    assert similarity.shape == (3, 5, 3, 5)
    patches = model.pos_embed[0, -15:].detach()
    expected = torch.cosine_similarity(patches[7], patches[14], dim=0)
    torch.testing.assert_close(similarity[1, 2, 2, 4], expected)
    torch.testing.assert_close(similarity[1, 2, 1, 2], torch.tensor(1.0))


def test_planted_components_are_found_largest_first():
    """From filters that are mixtures of two pictures, both pictures are recovered."""
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(12, 2, generator=generator)).Q.T
    amounts = torch.randn(50, 2, generator=generator) * torch.tensor([5.0, 0.5])
    amounts = amounts - amounts.mean(dim=0)
    amounts[:, 1] -= amounts[:, 0] * (amounts[:, 0] @ amounts[:, 1]) / amounts[:, 0].square().sum()
    kernel = (amounts @ basis).reshape(50, 2, 2, 3).permute(0, 3, 1, 2) + 0.7
    pictures = principal_pictures(kernel, 2)
    for picture, planted in zip(pictures, basis, strict=True):
        planted = planted * planted[planted.abs().argmax()].sign()
        scaled = (planted - planted.min()) / (planted.max() - planted.min())
        torch.testing.assert_close(picture.flatten(), scaled, rtol=0, atol=1e-4)


def test_filters_of_vit_and_swin_are_pictures(tiny_model):
    assert patch_filters(tiny_model, 5).shape == (5, 8, 8, 3)
    swin = Swin(SwinConfig(classes=3, width=32, depths=(1,), heads=(1,), windows=((2, 2),)))
    pictures = patch_filters(swin)
    assert pictures.shape == (28, 4, 4, 3)
    torch.testing.assert_close(pictures.amin(dim=(1, 2, 3)), torch.zeros(28))
    torch.testing.assert_close(pictures.amax(dim=(1, 2, 3)), torch.ones(28))


def test_models_without_such_weights_are_refused(tiny_model, tiny_config, make_model):
    swin = Swin(SwinConfig(classes=3, width=32, depths=(1,), heads=(1,), windows=((2, 2),)))
    mobile = MobileViT(MobileViTConfig(classes=3))
    with pytest.raises(MethodError, match="has no learned position embedding for each patch"):
        position_similarity(swin)
    with pytest.raises(MethodError, match="does not cut color photos into patches"):
        patch_filters(mobile)
    with pytest.raises(MethodError, match="does not cut color photos"):
        patch_filters(make_model(replace(tiny_config, channels=1)))
    with pytest.raises(OptionError, match="count=25, but these filters have components 1 to 24"):
        patch_filters(tiny_model, 25)
