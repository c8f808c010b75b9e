"""A forward pass that was watched: what every explanation starts from.

b   batch            n            tokens            h, w         pixels down, across
d   token width      rows, cols   the patch grid    bg           batch and groups that attend apart
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from vit_demo.errors import MethodError
from vit_demo.models.base import Classifier
from vit_demo.trace import Attention, Flow, LinearMixing, Trace, mean_heads

Heatmap = Float[Tensor, "b rows cols"]
# Of every layer's `attn_output`, [bg heads queries d_value]; the layers' sizes differ.
Gradients = dict[Attention, Float[Tensor, "_ _ _ _"]]


@dataclass(frozen=True, eq=False)
class TracedPass:
    """One pass over a batch: what went in, what came out, and what moved where."""

    model: Classifier
    pixels: Float[Tensor, "b channels h w"]
    logits: Float[Tensor, "b classes"]
    trace: Trace

    @property
    def read_out(self) -> Float[Tensor, "b 1 1"]:
        """Weight one on the read-out of every photo: where every method begins."""
        return self.logits.new_ones(len(self.logits), 1, 1)

    def residual_weights(self) -> Iterator[tuple[Flow, Float[Tensor, "b 1 n_out"]]]:
        """Every flow, the last one first, and the weight that comes to its outputs unattended.

        That is by skips and geometry alone: with a class token it rests on it until it ends, with
        a mean over the patches every patch keeps its share.
        """
        weight = self.read_out
        for flow in reversed(self.trace.flows):
            yield flow, weight
            if isinstance(flow, LinearMixing):
                weight = flow.apply_transpose(weight, mean_heads)
            elif isinstance(flow, Attention) and not flow.residual:
                weight = weight.new_zeros(len(weight), 1, flow.tokens)

    def on_grid(self, weight: Float[Tensor, "b 1 n"]) -> Heatmap:
        """Weights on the patches as a map that sums to one.

        What had gone to prefix tokens is lost on the way, so the rest is brought back to one.
        Raises MethodError when nothing is left for the patches.
        """
        rows, _ = self.grid
        heatmap = rearrange(weight, "b 1 (rows cols) -> b rows cols", rows=rows)
        total = heatmap.sum(dim=(1, 2), keepdim=True)
        if (total == 0).any():
            raise MethodError(
                "This map would be empty: no patch has any weight for this photo, class and "
                "options; try another of them, or the method 'occlusion'."
            )
        return heatmap / total

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        if self.trace.grid is None:
            raise RuntimeError("The model recorded no grid; its forward must call trace.begin().")
        return self.trace.grid


def run_with_trace(
    model: Classifier,
    pixels: Float[Tensor, "b channels h w"],
    gradients: bool = False,
    hidden_states: bool = False,
) -> TracedPass:
    """Run the model once and keep what it moved; the logits are those of an unwatched pass.

    With `gradients` the pass leaves its graph too, several times as large and good for one answer.
    With `hidden_states` it keeps the tokens after every layer.
    """
    trace = Trace(gradients=gradients, hidden_states=hidden_states)
    if not gradients:
        with torch.no_grad():
            return TracedPass(model, pixels, model(pixels, trace), trace)
    with grad_enabled():
        # Nothing that was made in a caller's inference mode can be part of a graph.
        pixels = pixels.clone() if pixels.is_inference() else pixels
        return TracedPass(model, pixels, model(pixels, trace), trace)


@contextmanager
def grad_enabled() -> Iterator[None]:
    """What is computed inside can be differentiated, whatever the caller has switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def gradients_of(
    logits: Float[Tensor, "b classes"], target: Int[Tensor, " b"], layers: Sequence[Attention]
) -> Gradients:
    """∂(logit of each photo's target) / ∂`attn_output` of every layer, of a pass with gradients.

    Nothing is left in any `.grad`. The graph between the two is spent: it goes as it is used, so
    that memory is at its highest before anything else is formed.
    """
    with grad_enabled():
        one_hot = functional.one_hot(target.to(logits.device), logits.shape[1]).to(logits)
        attn_output = [layer.attn_output for layer in layers]
        slopes = torch.autograd.grad(logits, attn_output, grad_outputs=one_hot)
    return dict(zip(layers, slopes, strict=True))


def attention_grad(
    layer: Attention, gradients: Gradients, rows: slice
) -> Float[Tensor, "bg heads rows slots"]:
    """∂score / ∂weights of some rows: exact, since `attn_output` is weights · value."""
    return gradients[layer][:, :, rows] @ layer.value.mT
