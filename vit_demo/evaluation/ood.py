"""Classes that a checkpoint does not know: is it less sure of them than of those it names?

Hendrycks & Gimpel 2017 (arXiv 1610.02136): the confidence of the likeliest class is the plainest
sign. `known` and `ood` are axes of photos.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vit_demo.errors import ConfigError
from vit_demo.evaluation.metrics import Share
from vit_demo.predictions import Problem, scores


@dataclass(frozen=True)
class OodReport:
    """Mean confidence in photos of known classes and of unknown ones, and how they part.

    `auroc` is the chance that a known photo is surer than a stranger (the area under the ROC
    curve; ½ is guessing). At `threshold` both kinds together are told apart best: so many
    strangers lie `below`, so many known photos are `kept`.
    """

    known: float
    ood: float
    auroc: float
    threshold: float
    below: Share
    kept: Share


def ood_report(known: Float[Tensor, " known"], ood: Float[Tensor, " strangers"]) -> OodReport:
    """Compare the confidences of two kinds of photos; raises ConfigError where one is missing.

    The threshold is Youden's: where the share of strangers below it and the share of known photos
    from it upwards have the largest sum. It lies half-way between two photos.
    """
    if not len(known) or not len(ood):
        raise ConfigError("Known photos and strangers are both needed to compare them.")
    values = torch.cat([known, ood]).double().unique()
    between = torch.cat([values[:1], (values[1:] + values[:-1]) / 2])
    below = _count_below(ood, between) / len(ood)
    kept = 1 - _count_below(known, between) / len(known)
    threshold = float(between[(below + kept).argmax()])
    return OodReport(
        known=float(known.double().mean()),
        ood=float(ood.double().mean()),
        auroc=_share_in_order(known, ood),
        threshold=threshold,
        below=Share(int((ood < threshold).sum()), len(ood)),
        kept=Share(int((known >= threshold).sum()), len(known)),
    )


def confidence(
    logits: Float[Tensor, "photos classes"],
    temperature: float,
    problem: Problem = "single_label",
) -> Float[Tensor, " photos"]:
    """The probability of the likeliest class."""
    return scores(logits.double(), problem, temperature).amax(dim=-1)


def _share_in_order(known: Float[Tensor, " known"], ood: Float[Tensor, " strangers"]) -> float:
    """How many of all pairs have the known photo above the stranger; equal ones count half."""
    below = _count_below(ood, known.double())
    not_above = _count_below(ood, known.double(), with_equal=True)
    return float((below + not_above).mean()) / (2 * len(ood))


def _count_below(
    values: Float[Tensor, " photos"],
    thresholds: Float[Tensor, " thresholds"],
    with_equal: bool = False,
) -> Float[Tensor, " thresholds"]:
    ordered = values.double().sort().values
    return torch.searchsorted(ordered, thresholds, right=with_equal).double()
