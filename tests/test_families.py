"""Every map of every family that is read: right, or refused with a reason."""

import pytest
import test_timm_format
import test_transformers
import torch
from test_transformers import FAMILIES

from vit_demo.checkpoints import read_folder
from vit_demo.checkpoints.checkpoint import build
from vit_demo.checkpoints.families.vit import check_plain
from vit_demo.errors import UnsupportedError
from vit_demo.explanations import METHODS, run_with_trace
from vit_demo.explanations.evidence import accounts
from vit_demo.explanations.queries import attention_distances, patch_attention, patch_rollout
from vit_demo.training.adapt import as_plain

TARGET = torch.tensor([0, 3])
# Families whose maps no other test looks at.
NEW = ("BEiT", "Data2Vec", "MSN", "I-JEPA", "CLIP", "SigLIP", "Swin V2", "MobileViT V2")
HF = [name for name in FAMILIES if name.startswith(NEW)]
TIMM = [
    "vit_base_patch16_rpn_224",
    "beitv2_base_patch16_224, both biases",
    "beit_base_patch16_224, a rectangle with positions",
    "vit_relpos_base_patch16_cls_224",
    "vit_relpos_small_patch16_rpn_224",
    "vit_srelpos_small_patch16_224",
    "swinv2_tiny_window16_256",
    "mobilevitv2_050",
    "eva02_base_patch16_clip_224",
    "vit_small_patch16_rope_mixed_ape_224",
    "vit_pe_core_tiny_patch16_384",
    "vit_small_plus_patch16_dinov3",
]
# The library returns their attention for some layers only, or for none.
UNSEEN = ("Swin V2", "MobileViT V2")


@pytest.mark.parametrize("name", [*HF, *TIMM])
def test_every_map_is_right_or_refused(tmp_path, name):
    (test_transformers if name in HF else test_timm_format).theirs(tmp_path, name)
    checkpoint = build(read_folder(tmp_path, "tiny"), "tiny")
    pixels = torch.randn(2, 3, *checkpoint.model.config.image_size)
    with torch.inference_mode():
        expected = checkpoint.model(pixels)
    for method in METHODS.values():
        if reason := method.unsupported_reason(checkpoint.model):
            assert len(reason) > 20
            continue
        traced = method.run_with_trace(checkpoint.model, pixels)
        assert torch.equal(traced.logits.detach(), expected)
        heatmap = method(traced, TARGET, {})
        assert heatmap.shape == (2, *traced.grid)
        assert heatmap.isfinite().all()
        assert heatmap.flatten(1).std(dim=1).min() > 0
        if not method.signed:
            assert (heatmap >= 0).all()
            torch.testing.assert_close(heatmap.sum(dim=(1, 2)), torch.ones(2))
    assert_evidence_adds_up(checkpoint, pixels)
    assert_patches_can_be_asked(checkpoint, pixels)


def assert_evidence_adds_up(checkpoint, pixels):
    if METHODS["evidence"].unsupported_reason(checkpoint.model) is None:
        for account in accounts(run_with_trace(checkpoint.model, pixels), TARGET):
            assert account.total == pytest.approx(account.centred_logit, abs=1e-4, rel=1e-4)


def assert_patches_can_be_asked(checkpoint, pixels):
    traced = run_with_trace(checkpoint.model, pixels)
    for layer in range(1, len(traced.trace.layers) + 1):
        for ask in (patch_attention, patch_rollout):
            heatmap = ask(traced, (0, 0), layer)
            torch.testing.assert_close(heatmap.sum(dim=(1, 2)), torch.ones(2))
    distances = attention_distances(traced, float(checkpoint.model.config.cell))
    assert all((layer >= 0).all() for layer in distances)


@pytest.mark.parametrize("name", ["BEiT, class token", "eva02_base_patch16_clip_224"])
def test_fine_tuning_refuses_positions_that_a_plain_vit_cannot_say(tmp_path, name):
    (test_transformers if name in HF else test_timm_format).theirs(tmp_path, name)
    stored = read_folder(tmp_path, "tiny")
    with pytest.raises(UnsupportedError, match="relative or rotary positions"):
        check_plain(as_plain(stored.config))


@pytest.mark.parametrize("name", [name for name in HF if not name.startswith(UNSEEN)])
def test_attention_weights_are_the_librarys(tmp_path, name):
    kind = type(test_transformers.theirs(tmp_path, name))
    model = kind.from_pretrained(tmp_path, attn_implementation="eager").eval()
    checkpoint = build(read_folder(tmp_path, "tiny"), "tiny")
    pixels = torch.randn(2, 3, *checkpoint.model.config.image_size)
    with torch.no_grad():
        expected = model(pixels, output_attentions=True).attentions
    layers = run_with_trace(checkpoint.model, pixels).trace.layers
    assert len(layers) == len(expected) > 0
    for layer, theirs in zip(layers, expected, strict=True):
        torch.testing.assert_close(layer.weights(), theirs, rtol=1e-4, atol=1e-5)
