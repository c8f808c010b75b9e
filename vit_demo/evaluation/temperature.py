"""Temperature scaling: fit the temperature, and measure its effect by cross-fitting.

Guo et al. 2017 (arXiv 1706.04599): divide all logits by the T > 0 that minimizes the loss on
held-out photos. This changes the probabilities, not the predicted classes.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from vit_demo.predictions import Problem, scores

FOLDS = 5

# A minimum outside this range means that the likelihood has no maximum.
COLDEST, HOTTEST = 0.01, 100.0

# Bisection steps of this range, down to the precision of a float64.
HALVINGS = 60

# The share of correctly classified photos that stay above the threshold. Low confidence indicates
# wrong predictions and unknown classes: Hendrycks & Gimpel 2017, arXiv 1610.02136.
KEPT = 0.95


def fit_temperature(
    logits: Float[Tensor, "photos classes"], truth: Int[Tensor, " photos"]
) -> float | None:
    """The T that minimizes the mean negative log-likelihood of softmax(logits / T).

    The loss is convex in 1/T, so its derivative changes sign once, and bisection finds the minimum.
    None if it has none: all photos are classified correctly (a lower T is always better), or the
    predictions are no better than chance (a higher T is).
    """
    exact = logits.double()
    true_logit = exact.gather(1, rearrange(truth, "photos -> photos 1")).mean()

    def derivative(temperature: Float[Tensor, ""]) -> float:
        """d loss / d (1/T): the mean expected logit minus the mean true logit."""
        probabilities = (exact / temperature).softmax(dim=-1)
        return float((probabilities * exact).sum(dim=-1).mean() - true_logit)

    cold, hot = torch.tensor([COLDEST, HOTTEST], dtype=torch.float64).log()
    all_right = true_logit >= exact.max(dim=-1).values.mean()
    if all_right or derivative(cold.exp()) <= 0 or derivative(hot.exp()) >= 0:
        return None
    for _ in range(HALVINGS):
        middle = (cold + hot) / 2
        if derivative(middle.exp()) > 0:
            cold = middle
        else:
            hot = middle
    return float(((cold + hot) / 2).exp())


def folds(photos: int, count: int = FOLDS, seed: int = 0) -> list[Int[Tensor, " _"]]:
    """A random partition of the photos into `count` folds, whose sizes differ by at most one.

    With fewer photos than folds, each photo is a fold of its own.
    """
    order = torch.randperm(photos, generator=torch.Generator().manual_seed(seed))
    return list(order.tensor_split(min(count, photos)))


def cross_fitted(
    logits: Float[Tensor, "photos classes"],
    truth: Int[Tensor, " photos"],
    parts: Sequence[Int[Tensor, " _"]],
) -> Float[Tensor, "photos classes"]:
    """Log-probabilities of each photo with the temperature fitted on the other folds.

    So no photo is scored with a temperature that was fitted on it. If no temperature can be fitted
    on the other folds, the logits are used uncalibrated.
    """
    calibrated = logits.double().log_softmax(dim=-1)
    for part in parts:
        others = torch.ones(len(truth), dtype=torch.bool)
        others[part] = False
        temperature = fit_temperature(logits[others], truth[others]) if others.any() else None
        if temperature is not None:
            calibrated[part] = (logits[part].double() / temperature).log_softmax(dim=-1)
    return calibrated


def unsure_threshold(
    logits: Float[Tensor, "photos classes"],
    truth: Int[Tensor, " photos"],
    temperature: float,
    problem: Problem = "single_label",
) -> float | None:
    """The confidence that 95 % of the correctly classified photos reach; None if there are none."""
    best = scores(logits.double(), problem, temperature).max(dim=-1)
    right = best.values[best.indices == truth]
    return float(right.quantile(1 - KEPT)) if len(right) else None
