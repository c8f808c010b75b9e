"""Probabilities for a masked photo equal those of the modified photo."""

from dataclasses import replace

import pytest
import torch
from planted import Planted, bright_photo
from test_occlusion import mobile, swin
from test_vit import VARIANTS

from vit_demo.errors import CheckpointError
from vit_demo.explanations import run_with_trace
from vit_demo.explanations.masking import gaussian
from vit_demo.faithfulness.masked_classifier import MaskedClassifier


@pytest.fixture
def masks():
    some = torch.rand(4, 16, generator=torch.Generator().manual_seed(3)) < 0.5
    return torch.cat([some, torch.zeros(1, 16, dtype=torch.bool)])


@pytest.fixture
def case(tiny_model):
    return MaskedClassifier(run_with_trace(tiny_model, torch.randn(1, 3, 32, 32)), target=2)


@torch.no_grad()
def test_probabilities_are_those_of_the_modified_photo(case, masks):
    pixels = case.traced.pixels
    soft = gaussian(pixels, sigma=5.0, reach=5)
    grey = pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels)
    for ask, other in ((case.greyed, grey), (case.blurred, soft)):
        for mask, found in zip(masks, ask(masks), strict=True):
            where = mask.reshape(4, 4).repeat_interleave(8, 0).repeat_interleave(8, 1)
            logits = case.traced.model(torch.where(where, other, pixels))
            torch.testing.assert_close(found, logits.softmax(-1)[0, 2], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_class_token_can_be_read_with_all_patches_dropped(case, masks):
    assert case.drops
    model = case.traced.model
    every = torch.ones(1, 16, dtype=torch.bool)
    found = case.deleted(torch.cat([masks, every]))
    for mask, probability in zip([*masks, every[0]], found, strict=True):
        kept = [0, *(1 + (~mask).nonzero()[:, 0])]
        logits = model.encode(model.embed(case.traced.pixels)[:, kept])
        torch.testing.assert_close(probability, logits.softmax(-1)[0, 2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_patches_are_not_dropped_if_the_head_reads_them(tiny_config, make_model, variant):
    """The mean over no patches would be NaN."""
    model = make_model(replace(tiny_config, **VARIANTS[variant]))
    case = MaskedClassifier(run_with_trace(model, torch.randn(1, 3, 32, 32)), target=1)
    assert case.drops == (model.config.pooling == "class")
    every = torch.ones(1, 16, dtype=torch.bool)
    assert case.deleted(every).isfinite().all()
    if not case.drops:
        assert torch.equal(case.deleted(every), case.greyed(every))


@pytest.mark.parametrize("make", [swin, mobile])
def test_models_that_cannot_drop_tokens_get_gray_patches(make):
    model, size, _ = make()
    case = MaskedClassifier(run_with_trace(model, torch.randn(1, 3, *size)), target=1)
    assert not case.drops
    masks = torch.rand(3, case.patches) < 0.5
    assert torch.equal(case.deleted(masks), case.greyed(masks))


def test_versus_another_class_uses_only_the_two_logits(case, masks):
    whole = case.traced.logits[0]
    against = replace(case, versus=4)
    found = against.greyed(masks)[-1]
    torch.testing.assert_close(found, (whole[2] - whole[4]).sigmoid(), rtol=1e-4, atol=1e-5)


def test_probabilities_are_the_displayed_ones(case, masks):
    warm = replace(case, temperature=3.0)
    expected = (case.traced.logits / 3).softmax(-1)[0, 2]
    torch.testing.assert_close(warm.greyed(masks)[-1], expected, rtol=1e-4, atol=1e-5)


def test_non_finite_logits_are_refused(case):
    broken = replace(case.traced, logits=torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(CheckpointError, match="weights are damaged"):
        MaskedClassifier(broken, target=0)


def test_bfloat16_is_close_to_float32(case, masks):
    half = replace(case, bfloat16=True)
    for ask in ("deleted", "greyed", "blurred"):
        whole, coarse = getattr(case, ask)(masks), getattr(half, ask)(masks)
        assert coarse.dtype == whole.dtype
        assert not torch.equal(coarse, whole)
        torch.testing.assert_close(coarse, whole, rtol=0, atol=0.1)


def test_equal_masks_are_run_once(tiny_config):
    class Counting(Planted):
        seen = 0

        def forward(self, pixels, trace=None):
            self.seen += len(pixels)
            return super().forward(pixels, trace)

    model = Counting(tiny_config)
    case = MaskedClassifier(run_with_trace(model, bright_photo()), target=0)
    model.seen = 0
    masks = torch.eye(16, dtype=torch.bool)[[3, 3, 5, 3]]
    found = case.greyed(masks)
    assert model.seen == 2
    assert found[0] == found[1] == found[3]


def test_where_others_wait_one_set_goes_through_at_a_time(case, masks):
    calls = []
    patient = replace(case, between=lambda done, total: calls.append((done, total)))
    for name in ("deleted", "greyed", "blurred"):
        calls.clear()
        found = getattr(patient, name)(masks)
        torch.testing.assert_close(found, getattr(case, name)(masks), rtol=1e-4, atol=1e-5)
        assert calls == [(done, 4) for done in (1, 2, 3, 4)]
