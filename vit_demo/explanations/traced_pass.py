"""A traced forward pass, which every explanation starts from.

b   batch            n            tokens            h, w         pixels down, across
d   token width      rows, cols   the patch grid    bg           batch × attention groups
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
# Gradients of each layer's `attn_output`, [bg heads queries d_value]; sizes differ between layers.
Gradients = dict[Attention, Float[Tensor, "_ _ _ _"]]


@dataclass(frozen=True, eq=False)
class TracedPass:
    """One pass over a batch: its input, its output, and its trace."""

    model: Classifier
    pixels: Float[Tensor, "b channels h w"]
    logits: Float[Tensor, "b classes"]
    trace: Trace

    @property
    def read_out(self) -> Float[Tensor, "b 1 1"]:
        """Weight one on the read-out of every photo, where every propagation starts."""
        return self.logits.new_ones(len(self.logits), 1, 1)

    def residual_weights(self) -> Iterator[tuple[Flow, Float[Tensor, "b 1 n_out"]]]:
        """Every flow, last first, with the weight that reaches its outputs without attention.

        This weight passes only through residual connections and fixed geometry. With a class token
        it stays on that token; with a mean over the patches, every patch keeps its share.
        """
        weight = self.read_out
        for flow in reversed(self.trace.flows):
            yield flow, weight
            if isinstance(flow, LinearMixing):
                weight = flow.apply_transpose(weight, mean_heads)
            elif isinstance(flow, Attention) and not flow.residual:
                weight = weight.new_zeros(len(weight), 1, flow.tokens)

    def on_grid(self, weight: Float[Tensor, "b 1 n"]) -> Heatmap:
        """The weights on the patches as a map, normalized to a sum of one.

        The normalization makes up for the weight that went to prefix tokens. Raises MethodError
        if no weight is left on the patches.
        """
        rows, _ = self.grid
        heatmap = rearrange(weight, "b 1 (rows cols) -> b rows cols", rows=rows)
        total = heatmap.sum(dim=(1, 2), keepdim=True)
        if (total == 0).any():
            raise MethodError(
                "This map would be empty: no patch has any weight for this photo, class and "
                "options; change one of them, or choose the method 'occlusion'."
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
    """Run the model once and record its flows; the logits equal those of an untraced pass.

    With `gradients` the pass keeps its graph, which takes several times the memory and can be used
    only once. With `hidden_states` it keeps the tokens after every layer.
    """
    trace = Trace(gradients=gradients, hidden_states=hidden_states)
    if not gradients:
        with torch.no_grad():
            return TracedPass(model, pixels, model(pixels, trace), trace)
    with grad_enabled():
        # A tensor created in inference mode cannot be part of a graph.
        pixels = pixels.clone() if pixels.is_inference() else pixels
        return TracedPass(model, pixels, model(pixels, trace), trace)


@contextmanager
def grad_enabled() -> Iterator[None]:
    """Enable gradients, even inside the caller's `no_grad` or `inference_mode`."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def gradients_of(
    logits: Float[Tensor, "b classes"], target: Int[Tensor, " b"], layers: Sequence[Attention]
) -> Gradients:
    """∂(logit of each photo's target) / ∂`attn_output` of every layer, for a pass with gradients.

    It does not touch any `.grad`. The backward pass frees the graph, so the memory peaks before
    the attention weights are computed.
    """
    with grad_enabled():
        one_hot = functional.one_hot(target.to(logits.device), logits.shape[1]).to(logits)
        attn_output = [layer.attn_output for layer in layers]
        gradients = torch.autograd.grad(logits, attn_output, grad_outputs=one_hot)
    return dict(zip(layers, gradients, strict=True))


def attention_grad(
    layer: Attention, gradients: Gradients, rows: slice
) -> Float[Tensor, "bg heads rows slots"]:
    """∂score / ∂weights of some rows; exact, because `attn_output` is weights · value."""
    return gradients[layer][:, :, rows] @ layer.value.mT
