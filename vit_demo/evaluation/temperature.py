"""One number that makes probabilities honest: the temperature, found and then judged fairly.

Guo et al. 2017 (arXiv 1706.04599): divide all logits by T > 0 and choose the T that makes the
held-out answers likeliest. It changes no answer, only how sure it sounds.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from vit_demo.predictions import Problem, scores

FOLDS = 5

# Beyond these a temperature says that the likelihood has no maximum, not what it is.
COLDEST, HOTTEST = 0.01, 100.0

# Halvings of the interval between them: down to the last bit of a float64.
HALVINGS = 60

# The share of rightly named photos that stay above the threshold of doubt. That a low confidence
# betrays wrong and unknown alike: Hendrycks & Gimpel 2017, arXiv 1610.02136.
KEPT = 0.95


def fit_temperature(
    logits: Float[Tensor, "photos classes"], truth: Int[Tensor, " photos"]
) -> float | None:
    """The T that minimises the mean negative log-likelihood of softmax(logits / T).

    In 1/T the loss is convex, so its slope changes sign once and bisection finds where. None
    where it never does: every photo is named rightly (colder is always better), or the names are
    no better than chance (hotter is).
    """
    exact = logits.double()
    own = exact.gather(1, rearrange(truth, "photos -> photos 1")).mean()

    def slope(temperature: Float[Tensor, ""]) -> float:
        """d loss / d (1/T): the logits expected under the probabilities, less the true ones."""
        probabilities = (exact / temperature).softmax(dim=-1)
        return float((probabilities * exact).sum(dim=-1).mean() - own)

    cold, hot = torch.tensor([COLDEST, HOTTEST], dtype=torch.float64).log()
    all_right = own >= exact.max(dim=-1).values.mean()
    if all_right or slope(cold.exp()) <= 0 or slope(hot.exp()) >= 0:
        return None
    for _ in range(HALVINGS):
        middle = (cold + hot) / 2
        if slope(middle.exp()) > 0:
            cold = middle
        else:
            hot = middle
    return float(((cold + hot) / 2).exp())


def folds(photos: int, count: int = FOLDS, seed: int = 0) -> list[Int[Tensor, " _"]]:
    """Every photo in exactly one of `count` folds, chosen by `seed`, of sizes that differ by one.

    With fewer photos than folds each photo is one.
    """
    order = torch.randperm(photos, generator=torch.Generator().manual_seed(seed))
    return list(order.tensor_split(min(count, photos)))


def cross_fitted(
    logits: Float[Tensor, "photos classes"],
    truth: Int[Tensor, " photos"],
    parts: Sequence[Int[Tensor, " _"]],
) -> Float[Tensor, "photos classes"]:
    """Log-probabilities, each photo's with the temperature fitted on the other folds.

    So no photo is judged by a number that it helped to choose. Where the others settle no
    temperature, the logits stay as they are.
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
    """The confidence that 95 % of the rightly named photos reach; None where none is right."""
    best = scores(logits.double(), problem, temperature).max(dim=-1)
    right = best.values[best.indices == truth]
    return float(right.quantile(1 - KEPT)) if len(right) else None
