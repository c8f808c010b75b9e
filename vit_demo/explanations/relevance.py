"""Relevance: attention that raises the score of one class, propagated through all layers."""

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

    Ā is the mean over heads of ReLU(∇A ⊙ A), where ∇A is the gradient of the class's logit
    (Chefer et al., ICCV 2021, arXiv 2103.15679, equations 5 and 6). I is the path through the
    residual connections only. For a class token this path ends at the token and changes nothing;
    for a mean over patches it would hide the map under a uniform offset, so it is subtracted.
    Attention pooling has no residual connection, so all of its weight counts.

    `traced` is a pass with gradients, whose graph is freed. Raises MethodError if no attention
    raises the score.
    """
    attentions = [flow for flow in traced.trace.flows if isinstance(flow, Attention)]
    rule = positive_grad_x_attention(gradients_of(traced.logits, target, attentions))
    # One row vector of R − I, from the last layer to the first.
    row = torch.zeros_like(traced.read_out)
    for flow, residual_weights in traced.residual_weights():
        if isinstance(flow, LinearMixing):
            row = flow.apply_transpose(row, rule)
        else:
            through = flow.apply_transpose(residual_weights + row, rule)
            row = row + through if flow.residual else through
    return traced.on_grid(row)


def positive_grad_x_attention(gradients: Gradients) -> Rule:
    """The mean over heads of ReLU(∇A ⊙ A); ReLU comes first, so heads do not cancel out."""

    def rule(layer: Attention, rows: slice) -> Float[Tensor, "bg rows slots"]:
        product = layer.weights(rows) * attention_grad(layer, gradients, rows)
        return reduce(product.relu_(), "bg heads rows slots -> bg rows slots", "mean")

    return rule
