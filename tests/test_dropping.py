"""What is left out while training: the right share, whole, and nothing in use."""

import math

import pytest
import torch

from vit_demo.models.dropping import DropPath, PatchDropout


def test_drop_path_drops_whole_samples_and_keeps_the_expectation():
    rate, samples = 0.4, 20_000
    out = DropPath(rate).train()(torch.ones(samples, 2, 3))
    assert torch.equal(out.amin(dim=(1, 2)), out.amax(dim=(1, 2)))
    kept = out[:, 0, 0] > 0
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 1 / (1 - rate)))
    five_sigma = 5 * math.sqrt(rate / (1 - rate) / samples)
    assert out.mean().item() == pytest.approx(1, abs=five_sigma)


@pytest.mark.parametrize("drop_path", [DropPath(0.4).eval(), DropPath(0.0).train()])
def test_drop_path_is_the_identity_in_use_and_at_rate_zero(drop_path):
    branch = torch.randn(4, 2, 3)
    assert torch.equal(drop_path(branch), branch)


def numbered(samples, tokens):
    """Tokens that say who they are."""
    return torch.arange(float(tokens))[None, :, None].expand(samples, tokens, 3).clone()


def test_patch_dropout_keeps_the_prefix_and_a_share_of_the_patches_each_once():
    kept = PatchDropout(0.25, prefix=2).train()(numbered(50, 2 + 8))
    assert kept.shape == (50, 2 + 6, 3)
    assert torch.equal(kept[:, :2], numbered(50, 2))
    for sample in kept[:, 2:, 0]:
        assert len(set(sample.tolist())) == 6
        assert set(sample.tolist()) <= set(range(2, 10))


def test_patch_dropout_leaves_out_other_patches_for_every_sample_and_all_alike_often():
    kept = PatchDropout(0.5, prefix=1).train()(numbered(4000, 1 + 4))[:, 1:, 0]
    assert len({tuple(sorted(sample.tolist())) for sample in kept}) == 6  # 4 choose 2
    shares = torch.bincount(kept.flatten().long(), minlength=5)[1:] / 4000
    assert shares.tolist() == pytest.approx([0.5] * 4, abs=5 * math.sqrt(0.25 / 4000))


@pytest.mark.parametrize("dropout", [PatchDropout(0.4, 1).eval(), PatchDropout(0.0, 1).train()])
def test_patch_dropout_is_the_identity_in_use_and_at_rate_zero(dropout):
    tokens = torch.randn(4, 5, 3)
    assert torch.equal(dropout(tokens), tokens)


def test_at_least_one_patch_stays():
    assert PatchDropout(0.9, prefix=1).train()(numbered(3, 1 + 2)).shape == (3, 2, 3)
