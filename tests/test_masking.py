"""Masking patches: exactly the requested tokens or pixels are dropped or replaced."""

from dataclasses import replace

import pytest
import torch
from test_vit import VARIANTS

from vit_demo.explanations.masking import (
    covered,
    gaussian,
    logits_dropping,
    logits_replacing,
    mean_colour,
)

NOTHING = torch.zeros(1, 12, dtype=torch.bool)


@pytest.fixture
def some():
    """Masks of different sizes, one of them twice, and one that masks nothing."""
    masks = torch.rand(9, 12, generator=torch.Generator().manual_seed(3)) < 0.4
    return torch.cat([masks, NOTHING, masks[:1]])


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_each_mask_is_dropped_as_in_a_pass_of_its_own(
    tiny_config, make_model, some, variant, monkeypatch
):
    """Masks of different sizes, more than one batch, for every ViT variant."""
    monkeypatch.setattr("vit_demo.explanations.masking.TOKENS_PER_BATCH", 20)
    model = make_model(replace(tiny_config, **VARIANTS[variant]))
    pixels = torch.randn(1, 3, 32, 24)
    found = logits_dropping(model, pixels, some)
    for mask, logits in zip(some, found, strict=True):
        kept = list(range(model.config.prefix))
        kept += [model.config.prefix + p for p in range(12) if not mask[p]]
        alone = model.encode(model.embed(pixels)[:, kept])[0]
        torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[-2], model(pixels)[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[-1], found[0])


@torch.no_grad()
def test_each_mask_is_replaced_as_in_a_pass_of_its_own(tiny_model, some, monkeypatch):
    monkeypatch.setattr("vit_demo.explanations.masking.TOKENS_PER_BATCH", 20)
    pixels, other = torch.randn(1, 3, 32, 24), torch.randn(1, 3, 32, 24)
    found = logits_replacing(tiny_model, pixels, other, some, (4, 3))
    for mask, logits in zip(some, found, strict=True):
        changed = pixels.clone()
        for patch in mask.nonzero()[:, 0].tolist():
            row, col = divmod(patch, 3)
            patch_pixels = (..., slice(8 * row, 8 * row + 8), slice(8 * col, 8 * col + 8))
            changed[patch_pixels] = other[patch_pixels]
        torch.testing.assert_close(logits, tiny_model(changed)[0], rtol=1e-4, atol=1e-4)


def test_the_mean_color_is_computed_per_photo():
    pixels = torch.stack([torch.zeros(3, 2, 2), torch.arange(12.0).reshape(3, 2, 2)])
    colours = mean_colour(pixels)
    assert colours.shape == pixels.shape
    assert colours[0].unique().tolist() == [0]
    assert colours[1, :, 1, 0].tolist() == [1.5, 5.5, 9.5]


def test_the_kernel_of_a_blur_can_be_truncated():
    """A kernel of 11 pixels, as in RISE: a single pixel spreads five pixels, not six."""
    spot = torch.zeros(1, 1, 31, 31)
    spot[0, 0, 15, 15] = 1
    soft = gaussian(spot, sigma=5.0, reach=5)[0, 0]
    assert soft[15, 20] > 0 == soft[15, 21]
    torch.testing.assert_close(soft.sum(), torch.tensor(1.0))


def test_pixels_beyond_the_last_whole_patch_are_never_masked():
    """35 × 20 pixels contain 4 × 2 patches of 8; the rest is outside every block."""
    mask = covered(torch.arange(8)[None] == 7, (4, 2), 8, (35, 20))
    assert mask.shape == (1, 1, 35, 20)
    assert mask.nonzero()[:, 2:].amin(dim=0).tolist() == [24, 8]
    assert mask.nonzero()[:, 2:].amax(dim=0).tolist() == [31, 15]


def test_the_blur_keeps_uniform_pictures_and_removes_waves_with_the_period_of_a_block():
    plain = torch.full((1, 3, 20, 30), 0.7)
    torch.testing.assert_close(gaussian(plain, sigma=4.0), plain)
    wave = torch.cos(2 * torch.pi * torch.arange(160.0) / 16).expand(1, 1, 160, 160)
    left = gaussian(wave, sigma=8.0)[:, :, 40:120, 40:120]
    assert left.abs().max() < 0.01
    spot = torch.zeros(1, 1, 41, 41)
    spot[0, 0, 20, 20] = 1
    soft = gaussian(spot, sigma=3.0)[0, 0]
    torch.testing.assert_close(soft, soft.T)
    torch.testing.assert_close(soft.sum(), torch.tensor(1.0))
    torch.testing.assert_close(soft[20, 23] / soft[20, 20], torch.tensor(-0.5).exp())
