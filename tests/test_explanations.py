"""Properties of every explanation method: normalization, refusals, no side effects, memory."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vit_demo.errors import MethodError, OptionError
from vit_demo.explanations import METHODS, find_method, run_with_trace
from vit_demo.models import Classifier

ROOT = Path(__file__).parents[1]


@pytest.fixture
def traced(tiny_model):
    """A batch of two photos on a rectangular grid of 4 × 6 patches."""
    return run_with_trace(tiny_model, torch.randn(2, 3, 32, 48))


@pytest.fixture
def target():
    return torch.tensor([0, 1])


@pytest.mark.parametrize("name", METHODS)
def test_every_map_is_a_distribution_over_the_grid_or_signed(traced, target, name):
    heatmap = METHODS[name](traced, target, {})
    assert heatmap.shape == (2, 4, 6)
    assert not heatmap.requires_grad
    if METHODS[name].signed:
        assert (heatmap > 0).any()
        assert (heatmap < 0).any()
    else:
        assert (heatmap >= 0).all()
        torch.testing.assert_close(heatmap.sum(dim=(1, 2)), torch.ones(2))


@pytest.mark.parametrize("layer", [1, 2, 3, -1, -3])
@pytest.mark.parametrize("head", [0, 1, 3])
def test_attention_is_the_class_tokens_row_of_one_layer(traced, target, layer, head):
    heatmap = METHODS["attention"](traced, target, {"layer": layer, "head": head})
    weights = traced.trace.layers[layer - 1 if layer > 0 else layer].weights()
    rows = weights[:, head - 1] if head else weights.mean(dim=1)
    expected = rows[:, 0, 1:] / rows[:, 0, 1:].sum(dim=-1, keepdim=True)
    torch.testing.assert_close(heatmap, expected.reshape(2, 4, 6))


@pytest.mark.parametrize("layer", [0, 4, -4])
def test_a_layer_outside_the_model_is_refused(traced, target, layer):
    with pytest.raises(OptionError, match=f"layer={layer}, but this checkpoint has layers 1 to 3"):
        METHODS["attention"](traced, target, {"layer": layer})


@pytest.mark.parametrize("head", [-1, 4])
def test_a_head_outside_the_model_is_refused(traced, target, head):
    with pytest.raises(OptionError, match=f"head={head}, but layer -1 has heads 1 to 3"):
        METHODS["attention"](traced, target, {"head": head})


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "changes",
    [{}, {"registers": 4}, {"distilled": True}, {"class_token": False, "pooling": "mean"}],
)
def test_the_grid_is_not_guessed_from_the_token_count(tiny_config, make_model, name, changes):
    """14 × 20 patches and a class token are 281 tokens, not 16 × 16 and 25 prefix tokens."""
    model = make_model(replace(tiny_config, **changes))
    traced = run_with_trace(model, torch.randn(1, 3, 14 * 8, 20 * 8))
    options = {"block": 10} if name == "occlusion" else {}
    assert METHODS[name](traced, torch.tensor([0]), options).shape == (1, 14, 20)


def test_the_control_depends_on_the_seed_and_not_on_the_photo(tiny_model, target):
    first, second = (run_with_trace(tiny_model, torch.randn(2, 3, 32, 32)) for _ in range(2))
    random = METHODS["random"]
    assert torch.equal(random(first, target, {"seed": 1}), random(second, target, {"seed": 1}))
    assert not torch.equal(random(first, target, {"seed": 1}), random(first, target, {"seed": 2}))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(tiny_model, target, seed):
    with pytest.raises(OptionError, match="it must be a number from 0 to"):
        METHODS["random"](
            run_with_trace(tiny_model, torch.randn(2, 3, 32, 32)), target, {"seed": seed}
        )


def test_a_batch_gives_the_same_maps_as_single_photos(tiny_model, target):
    pixels = torch.randn(2, 3, 32, 32)
    both = run_with_trace(tiny_model, pixels)
    for name in METHODS.keys() - {"random"}:
        together = METHODS[name](both, target, {})
        for photo in range(2):
            one = slice(photo, photo + 1)
            alone = METHODS[name](run_with_trace(tiny_model, pixels[one]), target[one], {})
            torch.testing.assert_close(together[photo], alone[0])


class FailingModel(Classifier):
    """A model that raises in the last step of a forward pass after so many passes."""

    drops_tokens = True
    unreadable_layers = None

    def __init__(self, inner, passes):
        super().__init__()
        self.inner, self.config, self.passes = inner, inner.config, passes

    def forward(self, pixels, trace=None):
        return self._last_step(self.inner(pixels, trace))

    def embed(self, pixels, trace=None):
        return self.inner.embed(pixels, trace)

    def encode(self, tokens, trace=None):
        return self._last_step(self.inner.encode(tokens, trace))

    def read(self, tokens, trace=None):
        return self._last_step(self.inner.read(tokens, trace))

    def _last_step(self, logits):
        self.passes -= 1
        if self.passes < 0:
            raise ZeroDivisionError
        return logits


FAILURES = {
    "none": (9_999, {}, None),
    "an option": (9_999, {"no_such_option": 1}, OptionError),
    "a class": (9_999, {}, (RuntimeError, IndexError)),
    "the model": (1, {}, ZeroDivisionError),
}


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", METHODS)
def test_explaining_has_no_side_effects_on_the_model(tiny_model, name, failure, frozen):
    """No .grad, no hook, and no change of mode, weights or requires_grad, even after a failure."""
    tiny_model.requires_grad_(not frozen)
    before = {key: value.clone() for key, value in tiny_model.state_dict().items()}
    passes, options, error = FAILURES[failure]
    method = METHODS[name]
    reads_weights = method.account is not None  # reads the model's weights, runs no second pass
    model = tiny_model if reads_weights else FailingModel(tiny_model, passes).eval()
    traced = run_with_trace(model, torch.randn(1, 3, 32, 32))
    target = torch.tensor([99 if failure == "a class" else 0])
    # The other methods use neither the class nor another pass.
    runs_again = method.class_specific and not (reads_weights and failure == "the model")
    if error and (runs_again or failure == "an option"):
        with pytest.raises(error):
            method(traced, target, options)
    else:
        method(traced, target, options)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    for parameter in tiny_model.parameters():
        assert parameter.grad is None
        assert parameter.requires_grad is not frozen
    for module in tiny_model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
        assert not module.training
    assert all(torch.equal(value, before[key]) for key, value in tiny_model.state_dict().items())


def test_options_are_completed_and_checked():
    attention = METHODS["attention"]
    assert attention.options({"head": 2}) == {"layer": -1, "head": 2}
    with pytest.raises(OptionError, match="'attention' has no option 'depth'; its options: layer"):
        attention.options({"depth": 2})
    with pytest.raises(OptionError, match="'relevance' has no option 'head'; its options: none"):
        METHODS["relevance"].options({"head": 2})


def test_an_unknown_method_is_refused_with_a_suggestion():
    assert find_method("rollout") is METHODS["rollout"]
    with pytest.raises(MethodError, match="no method 'rolout'; did you mean 'rollout'?"):
        find_method("rolout")
    with pytest.raises(MethodError, match="choose one of: rollout, attention, relevance, legrad"):
        find_method("zzz")


# One fresh process, smaller bound first, because the peak of a process never decreases. VmHWM is
# the process's own peak; the ru_maxrss of a child starts at the memory of its parent.
BOUNDS = {"rollout": 1.2e9, "relevance": 2.0e9}
MEASURE = """
import json, re, sys, torch
from pathlib import Path
from vit_demo.explanations import METHODS
from vit_demo.models.vit import VisionTransformer, preset
torch.set_num_threads(2)
model = VisionTransformer(preset("s16", classes=5, image_size=(1024, 1024)))
model.eval().requires_grad_(False)
peaks = {}
for name in sys.argv[1:]:
    traced = METHODS[name].run_with_trace(model, torch.randn(1, 3, 1024, 1024))
    heatmap = METHODS[name](traced, torch.tensor([0]), {})
    assert heatmap.shape == (1, 64, 64)
    status = Path("/proc/self/status").read_text()
    peaks[name] = 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
print(json.dumps(peaks))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_memory_stays_bounded_at_1024_pixels():
    """ViT-S/16 on 4,096 patches; full attention matrices would take 0.4 GB per layer."""
    command = [sys.executable, "-c", MEASURE, *BOUNDS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    peaks = json.loads(done.stdout)
    assert all(peaks[name] < bound for name, bound in BOUNDS.items()), peaks
