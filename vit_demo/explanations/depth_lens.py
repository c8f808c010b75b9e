"""The depth lens (logit lens): the head's prediction from the tokens after each layer.

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
    """The logits after some layers; `layers` are their numbers, from 1, including the last one."""

    layers: tuple[int, ...]
    logits: Float[Tensor, "b layers classes"]


@torch.no_grad()
def depth_lens(traced: TracedPass) -> DepthLens:
    """Apply the final norm and the head to the tokens after each layer.

    Layers whose tokens the head cannot read are skipped: in Swin, all but those of the last stage.
    The logits of the last layer are the model's output. The pass must keep its hidden states:
    `run_with_trace(model, pixels, hidden_states=True)`. Raises MethodError for a model whose head
    cannot read any layer.
    """
    model, outputs = traced.model, traced.trace.outputs
    if reason := unsupported_by_legrad(model):
        raise MethodError(
            f"The depth lens does not support this checkpoint: {reason}; choose a ViT, DeiT, "
            "DINOv2 or Swin checkpoint."
        )
    if not outputs:
        raise RuntimeError("This pass kept no hidden states; run it with hidden_states=True.")
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
    """After which layers the predicted class differs between some of the photos.

    The photos should have different predictions; equal predictions prove nothing.
    """
    predicted = logits.argmax(dim=-1)
    return (predicted != predicted[:1]).any(dim=0)


def largest_difference(
    logits: Float[Tensor, "photos layers classes"],
    temperature: float = 1.0,
    problem: Problem = "single_label",
) -> Float[Tensor, " layers"]:
    """The largest difference in the probability of any class between two of the photos."""
    probabilities = scores(logits, problem, temperature)
    return (probabilities.amax(dim=0) - probabilities.amin(dim=0)).amax(dim=-1)
