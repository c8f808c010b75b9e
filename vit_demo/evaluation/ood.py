"""Out-of-distribution photos: is the model less confident on classes that it does not know?

The score is the maximum softmax probability (Hendrycks & Gimpel 2017, arXiv 1610.02136). `known`
and `ood` are axes of photos.
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
    """Mean confidence on photos of known and unknown classes, and how well it separates them.

    `auroc` is the area under the ROC curve: the probability that a photo of a known class has a
    higher confidence than one of an unknown class (½ is chance). `threshold` separates them best:
    `below` is the share of unknown photos below it, `kept` the share of known photos above it.
    """

    known: float
    ood: float
    auroc: float
    threshold: float
    below: Share
    kept: Share


def ood_report(known: Float[Tensor, " known"], ood: Float[Tensor, " ood"]) -> OodReport:
    """Compare the confidences on known and unknown classes; ConfigError if one set is empty.

    The threshold maximizes Youden's index: the sum of the share of unknown photos below it and the
    share of known photos from it upwards. It is half-way between two confidences.
    """
    if not len(known) or not len(ood):
        raise ConfigError("Photos of known and of unknown classes are both needed to compare them.")
    values = torch.cat([known, ood]).double().unique()
    thresholds = torch.cat([values[:1], (values[1:] + values[:-1]) / 2])
    below = _count_below(ood, thresholds) / len(ood)
    kept = 1 - _count_below(known, thresholds) / len(known)
    threshold = float(thresholds[(below + kept).argmax()])
    return OodReport(
        known=float(known.double().mean()),
        ood=float(ood.double().mean()),
        auroc=_auroc(known, ood),
        threshold=threshold,
        below=Share(int((ood < threshold).sum()), len(ood)),
        kept=Share(int((known >= threshold).sum()), len(known)),
    )


def confidence(
    logits: Float[Tensor, "photos classes"],
    temperature: float,
    problem: Problem = "single_label",
) -> Float[Tensor, " photos"]:
    """The probability of the most likely class."""
    return scores(logits.double(), problem, temperature).amax(dim=-1)


def _auroc(known: Float[Tensor, " known"], ood: Float[Tensor, " ood"]) -> float:
    """The fraction of pairs in which the known photo has more confidence; ties count half."""
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
