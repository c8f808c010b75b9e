"""LeGrad: to which attention weights the score of one class answers, layer by layer."""

import torch
from einops import reduce
from jaxtyping import Float, Int
from torch import Tensor

from vit_demo.errors import MethodError, OptionError
from vit_demo.explanations.traced_pass import (
    Gradients,
    Heatmap,
    TracedPass,
    attention_grad,
    grad_enabled,
    gradients_of,
)
from vit_demo.models.base import Subject, described
from vit_demo.trace import Attention, Rule, Trace, propagate_back


def unsupported_by_legrad(model: Subject) -> str | None:
    """Why the head cannot read the layers of a model, or None when it can."""
    architecture, _ = described(model)
    return architecture.unreadable_layers


def legrad(traced: TracedPass, target: Int[Tensor, " b"], *, layers: int = 2) -> Heatmap:
    """The slopes of the class's score by attention weights, summed over the last `layers`.

    Each layer's tokens are read by the final norm and the head as if it were the last; from that
    score come ReLU(∂score/∂A), the mean over heads and queries; A itself is no factor. The sum
    over the layers is brought to begin at zero, as in min–max scaling (Bousselham et al. 2024,
    arXiv 2404.03214, equations 5 to 8), and to a sum of one. Where attention pools the tokens, A
    is the pooling's own, as the authors do it for SigLIP. The authors' default is two layers;
    more than the head can read means all of those (in Swin, its last stage's).

    `traced` is a pass with gradients, which are spent. Raises OptionError below one layer,
    MethodError for a model whose head fits no layer.
    """
    model = traced.model
    if reason := unsupported_by_legrad(model):
        raise MethodError(f"'legrad' does not fit this checkpoint: {reason}.")
    if layers < 1:
        raise OptionError(f"layers={layers}, but at least 1 layer must be read.")
    maps = []
    for layer, tokens in _readable(traced.trace)[-layers:]:
        input_description = Trace(gradients=True)
        with grad_enabled():
            score = model.read(tokens, input_description)
        pooling = [flow for flow in input_description.flows if isinstance(flow, Attention)]
        asked = pooling[0] if pooling else layer
        answers = asked.apply_transpose(
            _even(asked, score), positive_grad(gradients_of(score, target, [asked]))
        )
        before = traced.trace.flows[: traced.trace.flows.index(layer)]
        maps.append(propagate_back([flow for flow in before if not flow.residual], answers))
    total = torch.stack(maps).sum(dim=0)
    return traced.on_grid(total - total.amin(dim=2, keepdim=True))


def positive_grad(gradients: Gradients) -> Rule:
    """The mean over heads of ReLU(∇A)."""

    def rule(layer: Attention, rows: slice) -> Float[Tensor, "bg rows slots"]:
        slopes = attention_grad(layer, gradients, rows).relu_()
        return reduce(slopes, "bg heads rows slots -> bg rows slots", "mean")

    return rule


def _readable(trace: Trace) -> list[tuple[Attention, Float[Tensor, "b n d"]]]:
    """The layers as wide as the last one, which is as wide as the head wants it."""
    last = trace.outputs[trace.layers[-1]]
    return [pair for pair in trace.outputs.items() if pair[1].shape[-1] == last.shape[-1]]


def _even(layer: Attention, like: Float[Tensor, "b classes"]) -> Float[Tensor, "b 1 n"]:
    """The same weight on every query."""
    queries = layer.tokens if layer.outputs is None else layer.outputs.numel()
    return like.new_full((len(like), 1, queries), 1 / queries)
