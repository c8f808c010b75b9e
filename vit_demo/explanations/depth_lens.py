"""The depth lens: what the head answers after each layer, as if it were the last.

b   batch            photos   photos that are compared
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vit_demo.errors import MethodError
from vit_demo.explanations.legrad import unsupported_by_legrad
from vit_demo.explanations.traced_pass import TracedPass
from vit_demo.predictions import Problem, scores


@dataclass(frozen=True, eq=False)
class DepthLens:
    """The logits after some layers; `layers` are their numbers, from 1, the last one included."""

    layers: tuple[int, ...]
    logits: Float[Tensor, "b layers classes"]


@torch.no_grad()
def depth_lens(traced: TracedPass) -> DepthLens:
    """Read the tokens after each layer with the last norm and the head.

    Layers whose tokens the head cannot read are left out: in Swin all but those of the last stage.
    The last layer's logits are the model's own. The pass must have kept its hidden states:
    `run_with_trace(model, pixels, hidden_states=True)`. Raises MethodError for a model whose head
    fits no layer.
    """
    model, outputs = traced.model, traced.trace.outputs
    if reason := unsupported_by_legrad(model):
        raise MethodError(
            f"The depth lens does not fit this checkpoint: {reason}; choose a ViT, DeiT, "
            "DINOv2 or Swin checkpoint."
        )
    if not outputs:
        raise RuntimeError("This pass kept no tokens; make it with hidden_states=True.")
    last = outputs[traced.trace.layers[-1]]
    readable = [
        (number, outputs[layer])
        for number, layer in enumerate(traced.trace.layers, start=1)
        if outputs[layer].shape == last.shape
    ]
    return DepthLens(
        tuple(number for number, _ in readable),
        torch.stack([model.read(tokens) for _, tokens in readable], dim=1),
    )


def depends_on_photo(logits: Float[Tensor, "photos layers classes"]) -> Bool[Tensor, " layers"]:
    """After which layers the likeliest class is another one for some of the photos.

    Photos that the model gives one and the same answer prove nothing, so take different ones.
    """
    answers = logits.argmax(dim=-1)
    return (answers != answers[:1]).any(dim=0)


def largest_difference(
    logits: Float[Tensor, "photos layers classes"],
    temperature: float = 1.0,
    problem: Problem = "single_label",
) -> Float[Tensor, " layers"]:
    """By how much the probability of some class differs between two of the photos, at most."""
    probabilities = scores(logits, problem, temperature)
    return (probabilities.amax(dim=0) - probabilities.amin(dim=0)).amax(dim=-1)
