"""Classes that a checkpoint does not know: is it less sure of them than of those it names?

Hendrycks & Gimpel 2017 (arXiv 1610.02136): the confidence of the likeliest class is the plainest
sign. `known` and `strangers` are axes of photos.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from vit_demo.errors import ConfigError
from vit_demo.training.metrics import Share


@dataclass(frozen=True)
class Strangeness:
    """Mean confidence in photos of known classes and of unknown ones, and how they part.

    `told_apart` is the chance that a known photo is surer than a stranger (the area under the ROC
    curve; ½ is guessing). At `threshold` both kinds together are told apart best: so many
    strangers lie `below`, so many known photos are `kept`.
    """

    known: float
    strangers: float
    told_apart: float
    threshold: float
    below: Share
    kept: Share


def strangeness(
    known: Float[Tensor, " known"], strangers: Float[Tensor, " strangers"]
) -> Strangeness:
    """Compare the confidences of two kinds of photos; raises ConfigError where one is missing.

    The threshold is Youden's: where the share of strangers below it and the share of known photos
    from it upwards have the largest sum. It lies half-way between two photos.
    """
    if not len(known) or not len(strangers):
        raise ConfigError("Known photos and strangers are both needed to compare them.")
    values = torch.cat([known, strangers]).double().unique()
    between = torch.cat([values[:1], (values[1:] + values[:-1]) / 2])
    below = _share_below(strangers, between)
    kept = 1 - _share_below(known, between)
    threshold = float(between[(below + kept).argmax()])
    pairs = known.double()[:, None] - strangers.double()
    return Strangeness(
        known=float(known.double().mean()),
        strangers=float(strangers.double().mean()),
        told_apart=float(((pairs > 0).double() + (pairs == 0).double() / 2).mean()),
        threshold=threshold,
        below=Share(int((strangers < threshold).sum()), len(strangers)),
        kept=Share(int((known >= threshold).sum()), len(known)),
    )


def confidence(
    logits: Float[Tensor, "photos classes"], temperature: float
) -> Float[Tensor, " photos"]:
    """The probability of the likeliest class."""
    return (logits.double() / temperature).softmax(dim=-1).amax(dim=-1)


def _share_below(
    values: Float[Tensor, " photos"], thresholds: Float[Tensor, " thresholds"]
) -> Float[Tensor, " thresholds"]:
    columns = rearrange(thresholds, "thresholds -> thresholds 1")
    return (values.double() < columns).double().mean(dim=1)
