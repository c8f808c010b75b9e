"""Accuracy with confidence intervals, and calibration; pure functions.

photos   scored photos      classes   classes of the checkpoint
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vit_demo.errors import ConfigError

CONFIDENCE = 0.95
BINS = 15
RESAMPLES = 2000

Interval = tuple[float, float]


def format_interval(interval: Sequence[float]) -> str:
    """An interval as text: "0.123 to 0.456"."""
    low, high = interval
    return f"{low:.3f} to {high:.3f}"


@dataclass(frozen=True)
class Share:
    """A proportion: `right` of `total`."""

    right: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.total:
            raise ConfigError(f"{self.right} of {self.total} is not a proportion.")

    @property
    def value(self) -> float:
        """The proportion as a number; NaN if the total is 0."""
        return self.right / self.total if self.total else math.nan

    @property
    def interval(self) -> Interval:
        """The 95 % Wilson score interval (1927), which stays in [0, 1] even for small totals."""
        if not self.total:
            return 0.0, 1.0
        z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
        widened = 1 + z * z / self.total
        center = self.value + z * z / (2 * self.total)
        variance = self.value * (1 - self.value) / self.total + (z / (2 * self.total)) ** 2
        half = z * math.sqrt(variance)
        return max(0.0, (center - half) / widened), min(1.0, (center + half) / widened)


@dataclass(frozen=True)
class Bin:
    """Photos with a confidence in (low, high]: their mean confidence and their accuracy."""

    low: float
    high: float
    photos: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """Expected calibration error with its interval, the loss, and the bins."""

    error: float
    interval: Interval
    loss: float
    bins: tuple[Bin, ...]


def reliability(
    log_probabilities: Float[Tensor, "photos classes"], truth: Int[Tensor, " photos"], seed: int = 0
) -> Reliability:
    """How well confidence and accuracy agree (Guo et al. 2017, arXiv 1706.04599).

    `loss` is the mean negative log-likelihood in nats. `seed` determines the bootstrap resamples.
    """
    best = log_probabilities.double().max(dim=-1)
    confidence, right = best.values.exp(), best.indices == truth
    target = rearrange(truth, "photos -> photos 1")
    loss = -float(log_probabilities.double().gather(1, target).mean())
    return Reliability(
        error=calibration_error(confidence, right),
        interval=bootstrapped(confidence, right, seed),
        loss=loss,
        bins=tuple(binned(confidence, right)),
    )


def place_in_bins(confidence: Float[Tensor, " photos"]) -> Int[Tensor, " photos"]:
    """The index of each confidence's bin, of BINS bins (low, high] of equal width."""
    inner = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)[1:-1]
    return torch.bucketize(confidence.double(), inner)


def binned(confidence: Float[Tensor, " photos"], right: Bool[Tensor, " photos"]) -> Iterator[Bin]:
    """The non-empty bins, by increasing confidence."""
    indices = place_in_bins(confidence)
    for index in range(BINS):
        inside = indices == index
        if inside.any():
            yield Bin(
                low=index / BINS,
                high=(index + 1) / BINS,
                photos=int(inside.sum()),
                confidence=float(confidence[inside].double().mean()),
                accuracy=float(right[inside].double().mean()),
            )


def calibration_error(
    confidence: Float[Tensor, " photos"], right: Bool[Tensor, " photos"]
) -> float:
    """Expected calibration error: Σ over bins of (share of photos) · |accuracy − confidence|.

    Guo et al. 2017 (arXiv 1706.04599), eq. 3. The weight of a bin cancels the denominators of its
    means, so the sums of (right − confidence) suffice.
    """
    gaps = right.double() - confidence.double()
    sums = torch.zeros(BINS, dtype=torch.float64).index_add(0, place_in_bins(confidence), gaps)
    return float(sums.abs().sum()) / len(gaps)


def bootstrapped(
    confidence: Float[Tensor, " photos"], right: Bool[Tensor, " photos"], seed: int
) -> Interval:
    """The 95 % bootstrap interval of the calibration error, from RESAMPLES resamples.

    The error is a sum of absolute values, so sampling noise alone makes it positive, and resampling
    adds noise again. The interval shows the uncertainty, not whether the error is zero.
    """
    generator = torch.Generator().manual_seed(seed)
    photos = len(confidence)
    draws = (torch.randint(photos, (photos,), generator=generator) for _ in range(RESAMPLES))
    errors = [calibration_error(confidence[draw], right[draw]) for draw in draws]
    tail = (1 - CONFIDENCE) / 2
    ends = torch.tensor([tail, 1 - tail], dtype=torch.float64)
    low, high = torch.tensor(errors, dtype=torch.float64).quantile(ends).tolist()
    return low, high
