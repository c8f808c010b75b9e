"""Relevance: attention that raises the score of one class, followed through all layers."""

import torch
from einops import reduce
from jaxtyping import Float, Int
from torch import Tensor

from vit_demo.explanations.traced_pass import (
    Gradients,
    Heatmap,
    TracedPass,
    attention_grad,
    gradients_of,
)
from vit_demo.trace import Attention, LinearMixing, Rule


def relevance(traced: TracedPass, target: Int[Tensor, " b"]) -> Heatmap:
    """The read-out's row of R − I, where R ← R + Ā·R from the first layer to the last.

    Ā is the mean over heads of ReLU(∇A ⊙ A), ∇A the slope of the class's logit (Chefer et al.,
    ICCV 2021, arXiv 2103.15679, equations 5 and 6). I stands for the ways round all attention:
    for a class token they end at it and change nothing, for a mean over patches they would hide
    the map under an even share. Attention that pools has no way round it, so all of it counts.

    `traced` is a pass with gradients, which are spent. Raises MethodError when no attention
    raises the score.
    """
    attentions = [flow for flow in traced.trace.flows if isinstance(flow, Attention)]
    rule = positive_grad_x_attention(gradients_of(traced.logits, target, attentions))
    # One row, from the last layer to the first: what came by attention, not by residuals alone.
    row = torch.zeros_like(traced.read_out)
    for flow, residual_weights in traced.residual_weights():
        if isinstance(flow, LinearMixing):
            row = flow.apply_transpose(row, rule)
        else:
            pulled = flow.apply_transpose(residual_weights + row, rule)
            row = row + pulled if flow.residual else pulled
    return traced.on_grid(row)


def positive_grad_x_attention(gradients: Gradients) -> Rule:
    """The mean over heads of ReLU(∇A ⊙ A): per head first, so that heads do not cancel out."""

    def rule(layer: Attention, rows: slice) -> Float[Tensor, "bg rows slots"]:
        raised = (layer.weights(rows) * attention_grad(layer, gradients, rows)).relu_()
        return reduce(raised, "bg heads rows slots -> bg rows slots", "mean")

    return rule
