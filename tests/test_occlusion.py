"""Occlusion, compared with dropping tokens or blurring pixels by hand."""

from dataclasses import replace

import oracles
import pytest
import torch
from test_mobilevit import MobileViT, MobileViTConfig
from test_swin_trace import lively, tiny
from test_vit import VARIANTS

from vit_demo.errors import OptionError
from vit_demo.explanations import METHODS, masking, run_with_trace
from vit_demo.explanations.masking import gaussian
from vit_demo.explanations.occlusion import MAX_BLOCKS, blocks, number_of_blocks
from vit_demo.models import Classifier

TARGET = torch.tensor([0, 3])
OCCLUSION = METHODS["occlusion"]


def by_hand(traced, hidden_blocks, without):
    """p(class) − p(class without the block), for each photo and block."""
    whole = traced.logits.softmax(dim=-1)
    rows, cols = traced.grid
    heatmap = torch.zeros(len(TARGET), rows * cols)
    for photo, index in enumerate(TARGET.tolist()):
        for block in hidden_blocks:
            logits = without(traced.pixels[photo : photo + 1], block)
            heatmap[photo, block] = whole[photo, index] - logits.softmax(dim=-1)[0, index]
    return heatmap.reshape(len(TARGET), rows, cols)


@pytest.mark.parametrize("variant", VARIANTS)
def test_drop_removes_the_tokens_from_the_sequence(tiny_config, make_model, variant):
    """For every read-out and prefix; the kept tokens are selected in a loop."""
    model = make_model(replace(tiny_config, **VARIANTS[variant]))
    traced = run_with_trace(model, torch.randn(2, 3, 32, 24))

    @torch.no_grad()
    def without(pixels, block):
        tokens = model.embed(pixels)
        kept = [t for t in range(tokens.shape[1]) if t - model.config.prefix not in block]
        tokens = tokens[:, kept]
        for layer in model.blocks:
            tokens = layer(tokens)
        return model.read_out(model.norm(tokens))

    expected = by_hand(traced, [[patch] for patch in range(12)], without)
    assert expected.abs().max() > 1e-3
    found = OCCLUSION(traced, TARGET, {"hide": "drop", "block": 1})
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_blocks_are_smaller_at_the_right_and_bottom_edges(tiny_model):
    """Blocks of 2 × 2 on 3 × 5 patches: two full blocks and four smaller ones."""
    cut = [[0, 1, 5, 6], [2, 3, 7, 8], [4, 9], [10, 11], [12, 13], [14]]
    masks = blocks((3, 5), 2)
    found = sorted((mask.nonzero()[:, 0].tolist() for mask in masks), key=lambda b: (-len(b), b))
    assert found == cut
    traced = run_with_trace(tiny_model, torch.randn(2, 3, 24, 40))

    @torch.no_grad()
    def without(pixels, block):
        kept = [t for t in range(16) if t - 1 not in block]
        return tiny_model.encode(tiny_model.embed(pixels)[:, kept])

    found = OCCLUSION(traced, TARGET, {"block": 2})
    torch.testing.assert_close(found, by_hand(traced, cut, without), rtol=0, atol=1e-5)


def swin():
    return lively(tiny("transformers", (22, 30), (4, 4))).float(), (21, 29), 2


def mobile():
    sizes = {"widths": (8, 12, 16), "depths": (1, 2, 1), "channels_of_stages": (8,) * 5}
    return (
        oracles.randomise(MobileViT(MobileViTConfig(4, stem=8, features=12, **sizes))),
        (32, 40),
        8,
    )


@pytest.mark.parametrize("make", [swin, mobile])
def test_blur_replaces_pixels_by_blurred_ones(make):
    """Also if the last cells extend beyond the picture (Swin, 21 × 29 pixels in cells of 2)."""
    model, size, cell = make()
    target = torch.tensor([0, 2])
    pixels = 5 * torch.randn(2, 3, *size)
    traced = run_with_trace(model, pixels)
    rows, cols = traced.grid
    options = OCCLUSION.options({"block": 3}, model)
    assert options == {"hide": "blur", "block": 3}
    found = OCCLUSION(traced, target, {"block": 3})
    soft = gaussian(pixels, sigma=1.5 * cell)
    whole = traced.logits.softmax(dim=-1)
    assert found.abs().max() > 1e-4
    for row in range(0, rows, 3):
        for col in range(0, cols, 3):
            changed = pixels.clone()
            down = slice(row * cell, (row + 3) * cell)
            across = slice(col * cell, (col + 3) * cell)
            changed[:, :, down, across] = soft[:, :, down, across]
            with torch.no_grad():
                fall = (whole - model(changed).softmax(dim=-1)).gather(1, target[:, None])
            block = found[:, row : row + 3, col : col + 3]
            torch.testing.assert_close(block, fall[:, :, None].expand_as(block), rtol=0, atol=1e-5)


class OnePatchDecides(Classifier):
    """Class 0 is likely if the patch at row 2, column 1 is bright, class 1 if it is dark."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, pixels, trace=None):
        if trace is not None:
            trace.begin((4, 4))
        bright = pixels[:, :, 16:24, 8:16].mean(dim=(1, 2, 3))
        return torch.stack([bright, -bright], dim=1)


def test_a_planted_patch_is_found_with_the_right_sign(tiny_config):
    model = OnePatchDecides(tiny_config)
    pixels = torch.zeros(1, 3, 32, 32)
    pixels[:, :, 16:24, 8:16] = 1
    traced = run_with_trace(model, pixels)
    for_bright = OCCLUSION(traced, torch.tensor([0]), {"block": 1})[0]
    for_dark = OCCLUSION(traced, torch.tensor([1]), {"block": 1})[0]
    assert divmod(int(for_bright.argmax()), 4) == (2, 1)
    assert (for_bright > 0).sum() == 1
    torch.testing.assert_close(for_dark, -for_bright)


def test_the_defaults_depend_on_the_model(tiny_config, make_model):
    """Blocks of about 16 pixels, at most 64 of them, dropped if the model can drop tokens."""
    for patch, block in ((8, 2), (16, 1), (32, 1)):
        model = make_model(replace(tiny_config, patch_size=patch, image_size=(64, 64)))
        assert OCCLUSION.options({}, model) == {"hide": "drop", "block": block}
    assert OCCLUSION.options({}, swin()[0]) == {"hide": "blur", "block": 8}
    assert OCCLUSION.options({}, mobile()[0]) == {"hide": "blur", "block": 4}


@pytest.mark.parametrize(("side", "patch", "block"), [(256, 16, 2), (384, 16, 3), (224, 32, 1)])
def test_no_default_runs_the_model_more_than_64_times(tiny_config, make_model, side, patch, block):
    model = make_model(replace(tiny_config, patch_size=patch, image_size=(side, side)))
    options = OCCLUSION.options({}, model)
    assert options["block"] == block
    count = number_of_blocks(model.config.grid, options)
    assert count == len(blocks(model.config.grid, block)) <= MAX_BLOCKS


@pytest.mark.parametrize("hide", ["drop", "blur"])
def test_progress_is_reported_per_batch_and_can_stop_the_work(tiny_model, monkeypatch, hide):
    """`between` is called per batch, does not change the map, and stops the work if it raises."""
    monkeypatch.setattr(masking, "TOKENS_PER_BATCH", 40)
    traced = run_with_trace(tiny_model, torch.randn(2, 3, 32, 32))
    options = {"hide": hide, "block": 1}
    calls = []
    found = OCCLUSION(traced, TARGET, options, lambda *progress: calls.append(progress))
    torch.testing.assert_close(found, OCCLUSION(traced, TARGET, options), rtol=0, atol=0)
    assert calls == [(done, 32) for done in range(2, 33, 2)]

    def stop(done, total):
        calls.append((done, total))
        raise KeyboardInterrupt

    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        OCCLUSION(traced, TARGET, options, stop)
    assert calls == [(2, 32)]


def test_invalid_blocks_and_unsupported_masking_are_refused(tiny_model):
    traced = run_with_trace(tiny_model, torch.randn(2, 3, 32, 48))
    for block in (0, 6):
        refusal = f"block={block}, but on 4 × 6 patches it must be 1 to 5"
        with pytest.raises(OptionError, match=refusal):
            OCCLUSION(traced, TARGET, {"block": block})
    model, size, _ = swin()
    with pytest.raises(OptionError, match="needs its whole grid of tokens; use hide=blur"):
        OCCLUSION(run_with_trace(model, torch.randn(2, 3, *size)), TARGET, {"hide": "drop"})
