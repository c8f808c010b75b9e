"""How good, and how honest, a set of answers is: shares with intervals, and calibration.

Pure functions; `photos` is the axis of scored photos, `classes` that of the checkpoint's classes.
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


def between(interval: Sequence[float]) -> str:
    """An interval in words."""
    low, high = interval
    return f"{low:.3f} to {high:.3f}"


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    right: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.total:
            raise ConfigError(f"{self.right} of {self.total} is no share.")

    @property
    def value(self) -> float:
        """The share itself; not a number where there is nothing to share."""
        return self.right / self.total if self.total else math.nan

    @property
    def interval(self) -> Interval:
        """95 % by Wilson's score (1927), which stays within 0 and 1 and needs no large numbers."""
        if not self.total:
            return 0.0, 1.0
        z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
        widened = 1 + z * z / self.total
        centre = self.value + z * z / (2 * self.total)
        spread = self.value * (1 - self.value) / self.total + (z / (2 * self.total)) ** 2
        half = z * math.sqrt(spread)
        return max(0.0, (centre - half) / widened), min(1.0, (centre + half) / widened)


@dataclass(frozen=True)
class Bin:
    """Photos whose confidence lies in (low, high]: how sure the answers were, how often right."""

    low: float
    high: float
    photos: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """Expected calibration error with its interval, the loss, and the bins behind them."""

    error: float
    interval: Interval
    loss: float
    bins: tuple[Bin, ...]


def reliability(
    log_probabilities: Float[Tensor, "photos classes"], truth: Int[Tensor, " photos"], seed: int = 0
) -> Reliability:
    """How well stated confidence and accuracy agree (Guo et al. 2017, arXiv 1706.04599).

    `loss` is the mean negative log-likelihood in nats. `seed` decides the resampling.
    """
    best = log_probabilities.double().max(dim=-1)
    confidence, right = best.values.exp(), best.indices == truth
    chosen = rearrange(truth, "photos -> photos 1")
    loss = -float(log_probabilities.double().gather(1, chosen).mean())
    return Reliability(
        error=calibration_error(confidence, right),
        interval=bootstrapped(confidence, right, seed),
        loss=loss,
        bins=tuple(binned(confidence, right)),
    )


def place_in_bins(confidence: Float[Tensor, " photos"]) -> Int[Tensor, " photos"]:
    """Which of the BINS bins of equal width, (low, high], each confidence falls into."""
    inner = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)[1:-1]
    return torch.bucketize(confidence.double(), inner)


def binned(confidence: Float[Tensor, " photos"], right: Bool[Tensor, " photos"]) -> Iterator[Bin]:
    """The bins that hold photos, from unsure to sure."""
    places = place_in_bins(confidence)
    for place in range(BINS):
        inside = places == place
        if inside.any():
            yield Bin(
                low=place / BINS,
                high=(place + 1) / BINS,
                photos=int(inside.sum()),
                confidence=float(confidence[inside].double().mean()),
                accuracy=float(right[inside].double().mean()),
            )


def calibration_error(
    confidence: Float[Tensor, " photos"], right: Bool[Tensor, " photos"]
) -> float:
    """Expected calibration error: Σ over bins of (photos in it / photos) · |accuracy − confidence|.

    Guo et al. 2017 (arXiv 1706.04599), eq. 3. A bin's share cancels its means' denominators, so
    the sums of (right − confidence) suffice.
    """
    gaps = right.double() - confidence.double()
    sums = torch.zeros(BINS, dtype=torch.float64).index_add(0, place_in_bins(confidence), gaps)
    return float(sums.abs().sum()) / len(gaps)


def bootstrapped(
    confidence: Float[Tensor, " photos"], right: Bool[Tensor, " photos"], seed: int
) -> Interval:
    """95 % of the calibration errors of RESAMPLES draws of as many photos, with replacement.

    The error is a sum of absolute values, so that chance alone keeps it above zero, and a draw's
    twice over: the interval says how far it may lie off, not whether it is zero.
    """
    generator = torch.Generator().manual_seed(seed)
    photos = len(confidence)
    draws = (torch.randint(photos, (photos,), generator=generator) for _ in range(RESAMPLES))
    errors = [calibration_error(confidence[draw], right[draw]) for draw in draws]
    tail = (1 - CONFIDENCE) / 2
    ends = torch.tensor([tail, 1 - tail], dtype=torch.float64)
    low, high = torch.tensor(errors, dtype=torch.float64).quantile(ends).tolist()
    return low, high
