"""The depth lens: the head on every layer's tokens, and layers that do not depend on the photo."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_mobilevit import MobileViT, MobileViTConfig
from test_swin_trace import lively, tiny
from test_vit import VARIANTS

from vit_demo import load, prepare
from vit_demo.errors import MethodError
from vit_demo.explanations import run_with_trace
from vit_demo.explanations.depth_lens import depends_on_photo, depth_lens, largest_difference

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_layer_is_read_as_if_the_model_ended_there(tiny_config, make_model, variant):
    """A model truncated after that layer, with the same norm and head, gives the same logits."""
    model = make_model(replace(tiny_config, **VARIANTS[variant])).requires_grad_(False)
    pixels = torch.randn(2, 3, 32, 48)
    traced = run_with_trace(model, pixels, hidden_states=True)
    found = depth_lens(traced)
    assert found.layers == (1, 2, 3)
    assert torch.equal(found.logits[:, -1], traced.logits)
    for number in found.layers:
        shorter = make_model(replace(tiny_config, **{**VARIANTS[variant], "depth": number}))
        kept = {name: weight for name, weight in model.state_dict().items()
                if name in shorter.state_dict()}  # fmt: skip
        shorter.load_state_dict(kept)
        torch.testing.assert_close(found.logits[:, number - 1], shorter(pixels).detach())


def test_in_swin_only_the_last_stage_can_be_read():
    model = lively(tiny("timm", (16, 24), (4, 4))).requires_grad_(False)
    traced = run_with_trace(model, torch.randn(1, 3, 16, 24).double(), hidden_states=True)
    found = depth_lens(traced)
    depths = model.config.depths
    assert found.layers == tuple(range(sum(depths[:-1]) + 1, sum(depths) + 1))
    assert torch.equal(found.logits[:, -1], traced.logits)


def test_a_model_without_a_readable_layer_is_refused():
    mobile = MobileViT(MobileViTConfig(classes=5)).eval()
    traced = run_with_trace(mobile, torch.randn(1, 3, 64, 64), hidden_states=True)
    with pytest.raises(MethodError, match="The depth lens does not support.*convolutions"):
        depth_lens(traced)


def test_keeping_hidden_states_does_not_change_logits_and_is_off_by_default(tiny_model):
    pixels = torch.randn(2, 3, 32, 32)
    traced = run_with_trace(tiny_model, pixels, hidden_states=True)
    assert torch.equal(traced.logits, tiny_model(pixels))
    assert not traced.logits.requires_grad
    with pytest.raises(RuntimeError, match="hidden_states=True"):
        depth_lens(run_with_trace(tiny_model, pixels))


def test_a_layer_with_equal_predictions_does_not_depend_on_the_photos():
    logits = torch.zeros(3, 2, 2)
    logits[:, 0] = torch.tensor([[2.0, 0.0], [1.0, 0.0], [3.0, 1.0]])
    logits[:, 1] = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]])
    assert depends_on_photo(logits).tolist() == [False, True]
    first, second = torch.tensor([2.0, 1.0]).sigmoid(), torch.tensor([2.0, -1.0]).sigmoid()
    expected = torch.stack([first[0] - first[1], second[0] - second[1]])
    torch.testing.assert_close(largest_difference(logits), expected)
    warm = torch.tensor([1.0, -0.5]).sigmoid()
    torch.testing.assert_close(largest_difference(logits, 2.0)[1], warm[0] - warm[1])


def test_early_layers_of_the_bundled_checkpoint_do_not_depend_on_the_photo():
    checkpoint = load("flowers")
    found = [
        depth_lens(prepare(checkpoint, EXAMPLES / name).traced).logits
        for name in ("dahlia.jpg", "honey-bee.jpg", "drawn-sunflower.png")
    ]
    depends = depends_on_photo(torch.cat(found)).tolist()
    assert not any(depends[1:6])
    assert all(depends[6:])
