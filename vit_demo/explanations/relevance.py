"""Relevance: attention that raises the score of one class, followed through all layers."""

import torch
from einops import reduce
from jaxtyping import Float, Int
from torch import Tensor

from vit_demo.explanations.watched import Gradients, Heatmap, Watched, gradients_of, slope
from vit_demo.flow import Attention, Rule, Sharing


def relevance(watched: Watched, target: Int[Tensor, " b"]) -> Heatmap:
    """The read-out's row of R − I, where R ← R + Ā·R from the first layer to the last.

    Ā is the mean over heads of ReLU(∇A ⊙ A), ∇A the slope of the class's logit (Chefer et al.,
    ICCV 2021, arXiv 2103.15679, equations 5 and 6). I stands for the ways round all attention:
    for a class token they end at it and change nothing, for a mean over patches they would hide
    the map under an even share. Attention that pools has no way round it, so all of it counts.

    `watched` is a pass with gradients, which are spent. Raises MethodError when no attention
    raises the score.
    """
    attentions = [flow for flow in watched.trace.flows if isinstance(flow, Attention)]
    rule = raising(gradients_of(watched.logits, target, attentions))
    # One row, from the last layer to the first: what came by some attention, beside `straight`.
    row = torch.zeros_like(watched.read_out)
    for flow, straight in watched.straight():
        if isinstance(flow, Sharing):
            row = flow.pull(row, rule)
        else:
            pulled = flow.pull(straight + row, rule)
            row = row + pulled if flow.skip else pulled
    return watched.on_grid(row)


def raising(gradients: Gradients) -> Rule:
    """The mean over heads of ReLU(∇A ⊙ A): per head first, so that heads do not cancel out."""

    def rule(layer: Attention, rows: slice) -> Float[Tensor, "bg rows slots"]:
        raised = (layer.weights(rows) * slope(layer, gradients, rows)).relu_()
        return reduce(raised, "bg heads rows slots -> bg rows slots", "mean")

    return rule
