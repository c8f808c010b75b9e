"""LeGrad: how sensitive the score of one class is to the attention weights, layer by layer."""

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
    """Why the head cannot read the layers of a model, or None if it can."""
    architecture, _ = described(model)
    return architecture.unreadable_layers


def legrad(traced: TracedPass, target: Int[Tensor, " b"], *, layers: int = 2) -> Heatmap:
    """The gradients of the class score with respect to attention, summed over the last `layers`.

    The final norm and the head read each layer's tokens as if it were the last layer. The map of a
    layer is the mean of ReLU(∂score/∂A) over heads and queries; A itself is not a factor. The sum
    over the layers is shifted to a minimum of zero, as in min–max scaling (Bousselham et al. 2024,
    arXiv 2404.03214, equations 5 to 8), and normalized to a sum of one. For attention pooling, A
    is the attention of the pooling, as the authors do for SigLIP. The authors' default is two
    layers. If `layers` exceeds the number that the head can read, all of those are used (in Swin,
    the layers of the last stage).

    `traced` is a pass with gradients, whose graph is freed. Raises OptionError for fewer than one
    layer, MethodError for a model whose head cannot read any layer.
    """
    model = traced.model
    if reason := unsupported_by_legrad(model):
        raise MethodError(f"'legrad' does not support this checkpoint: {reason}.")
    if layers < 1:
        raise OptionError(f"layers={layers}, but it must be 1 or more.")
    maps = []
    for layer, tokens in _readable(traced.trace)[-layers:]:
        head_trace = Trace(gradients=True)
        with grad_enabled():
            logits = model.read(tokens, head_trace)
        pooling = [flow for flow in head_trace.flows if isinstance(flow, Attention)]
        attention = pooling[0] if pooling else layer
        on_tokens = attention.apply_transpose(
            _uniform(attention, logits), positive_grad(gradients_of(logits, target, [attention]))
        )
        before = traced.trace.flows[: traced.trace.flows.index(layer)]
        maps.append(propagate_back([flow for flow in before if not flow.residual], on_tokens))
    total = torch.stack(maps).sum(dim=0)
    return traced.on_grid(total - total.amin(dim=2, keepdim=True))


def positive_grad(gradients: Gradients) -> Rule:
    """The mean over heads of ReLU(∇A)."""

    def rule(layer: Attention, rows: slice) -> Float[Tensor, "bg rows slots"]:
        positive = attention_grad(layer, gradients, rows).relu_()
        return reduce(positive, "bg heads rows slots -> bg rows slots", "mean")

    return rule


def _readable(trace: Trace) -> list[tuple[Attention, Float[Tensor, "b n d"]]]:
    """The layers whose tokens have the width that the head reads."""
    last = trace.outputs[trace.layers[-1]]
    return [pair for pair in trace.outputs.items() if pair[1].shape[-1] == last.shape[-1]]


def _uniform(layer: Attention, like: Float[Tensor, "b classes"]) -> Float[Tensor, "b 1 n"]:
    """The same weight on every query."""
    queries = layer.tokens if layer.outputs is None else layer.outputs.numel()
    return like.new_full((len(like), 1, queries), 1 / queries)
