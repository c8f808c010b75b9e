"""Benchmark on many photos: which method is the most faithful, by how much, and at what cost.

photos   the photos of a benchmark   points   fractions of the patches, from 0 to 1
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vit_demo.checkpoints.checkpoint import Checkpoint
from vit_demo.errors import DataError, MethodError, PhotoError
from vit_demo.explanations import (
    DEFAULT_METHOD,
    METHODS,
    Method,
    Options,
    TracedPass,
    find_method,
    run_with_trace,
)
from vit_demo.explanations.capability import capabilities
from vit_demo.faithfulness.map_scores import (
    CONTROL,
    FIGURES,
    STEPS,
    FaithfulnessScores,
    score_one_map,
)
from vit_demo.faithfulness.masked_classifier import MaskedClassifier
from vit_demo.photo import read_photo

CONFIDENCE, RESAMPLES = 0.95, 2000

# In forward passes; slower methods are not suitable for the first map that a visitor sees.
QUICK_COST = 4.0

# The best-known method; every other method is compared with it and with the control.
BASELINE = DEFAULT_METHOD

# Minimum number of photos in each half when one half selects a method and the other reports it.
MIN_HALF = 5

Report = Callable[[int, int], None]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Mean:
    """A mean over photos with its 95 % bootstrap interval; None for a single photo."""

    value: float
    interval: Interval | None


@dataclass(frozen=True, eq=False)
class Record:
    """One photo: scores and seconds of every method, and seconds of a plain forward pass."""

    photo: Path
    scores: Mapping[str, FaithfulnessScores]
    seconds: Mapping[str, float]
    plain: float


@dataclass(frozen=True, eq=False)
class Benchmark:
    """The records of some photos, all with the same methods."""

    ref: str
    records: tuple[Record, ...] = field(repr=False)
    unusable: Mapping[Path, str]
    drops: bool
    bfloat16: bool = False

    @property
    def methods(self) -> list[str]:
        """The compared methods, in the order of METHODS."""
        return list(self.records[0].scores)

    @property
    def steps(self) -> int:
        """The steps of a curve; a grid with few patches has fewer steps than requested."""
        return max(len(record.scores[CONTROL].deletion.shares) for record in self.records) - 1

    def figures(self, method: str, figure: str) -> Float[Tensor, " photos"]:
        """One score of one method on every photo."""
        values = [record.scores[method].figure(figure) for record in self.records]
        return torch.tensor(values, dtype=torch.float64)

    def mean(self, method: str, figure: str) -> Mean:
        """The mean over all photos."""
        return bootstrapped(self.figures(method, figure))

    def difference(self, method: str, other: str, figure: str) -> Mean:
        """The mean difference of one score between two methods on the same photos (paired)."""
        return bootstrapped(self.figures(method, figure) - self.figures(other, figure))

    def cost(self, method: str) -> float:
        """Median seconds for a map divided by median seconds for a plain forward pass."""
        plain = median(record.plain for record in self.records)
        return median(record.seconds[method] for record in self.records) / plain

    @property
    def quick(self) -> list[str]:
        """The methods that cost at most QUICK_COST, without the control."""
        names = (name for name in self.methods if name != CONTROL)
        return [name for name in names if self.cost(name) <= QUICK_COST]

    def curve(self, method: str, figure: str) -> Float[Tensor, "2 points"]:
        """The mean deletion or insertion curve: fractions of the patches, and probabilities.

        Curves from grids of different sizes are interpolated linearly to the same fractions.
        """
        shares = np.linspace(0, 1, self.steps + 1)
        curves = (getattr(record.scores[method], figure) for record in self.records)
        lines = [np.interp(shares, c.shares.numpy(), c.probabilities.numpy()) for c in curves]
        return torch.from_numpy(np.stack([shares, np.mean(lines, axis=0)]))

    def halves(self, seed: int = 0) -> tuple["Benchmark", "Benchmark"] | None:
        """A random split into two halves: one to select a method, the other to report its scores.

        None if there are too few photos.
        """
        count = len(self.records) // 2
        if count < MIN_HALF:
            return None
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.records), generator=generator).tolist()
        first, second = (
            tuple(self.records[number] for number in sorted(part))
            for part in (order[:count], order[count:])
        )
        return replace(self, records=first), replace(self, records=second)

    def ranked(self, among: Sequence[str] | None = None) -> list[str]:
        """Methods from the most to the least faithful, by the sum of their ranks in all scores.

        Equal values share their ranks; ties in the sum are broken by cost. The control is excluded.
        """
        names = [n for n in (self.methods if among is None else among) if n != CONTROL]
        ranks = dict.fromkeys(names, 0.0)
        for figure, more_is_better in FIGURES.items():
            sign = 1 if more_is_better else -1
            values = {name: sign * float(self.figures(name, figure).mean()) for name in names}
            for name in names:
                better = sum(value > values[name] for value in values.values())
                equal = sum(value == values[name] for value in values.values())
                ranks[name] += better + (equal - 1) / 2
        return sorted(names, key=lambda name: (ranks[name], self.cost(name)))


def bootstrapped(values: Float[Tensor, " photos"], seed: int = 0) -> Mean:
    """The mean with a bootstrap interval: quantiles of the means of RESAMPLES resamples."""
    if len(values) == 1:
        return Mean(float(values[0]), None)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(len(values), (RESAMPLES, len(values)), generator=generator)
    tail = (1 - CONFIDENCE) / 2
    ends = torch.tensor([tail, 1 - tail], dtype=values.dtype)
    low, high = values[draws].mean(dim=1).quantile(ends).tolist()
    return Mean(float(values.mean()), (low, high))


def compared(checkpoint: Checkpoint, names: Sequence[str] | None = None) -> list[Method]:
    """The methods to compare, in table order: the named ones, or all that support the checkpoint.

    The control and the baseline are always included. Raises MethodError for an unknown method or
    one that does not support the checkpoint.
    """
    reasons = {it.method.name: it.unsupported_reason for it in capabilities(checkpoint.model)}
    if names is None:
        return [method for name, method in METHODS.items() if reasons[name] is None]
    for name in names:
        if reason := reasons[find_method(name).name]:
            raise MethodError(f"'{name}' does not support this checkpoint: {reason}.")
    return [method for name, method in METHODS.items() if name in {*names, BASELINE, CONTROL}]


def benchmark(
    checkpoint: Checkpoint,
    photos: Sequence[Path],
    methods: Sequence[Method],
    steps: int = STEPS,
    report: Report | None = None,
    options: Mapping[str, Options] | None = None,
    bfloat16: bool = False,
) -> Benchmark:
    """The scores of every method on every photo, for the top class.

    `options` maps names of methods to their options; for `bfloat16` see `MaskedClassifier`. A
    photo that cannot be read, or for which a method gives no map, is skipped and reported. Raises
    DataError if no photo is left, CheckpointError for a checkpoint whose logits are not finite.
    """
    complete: dict[str, Options] = {
        method.name: method.options((options or {}).get(method.name, {}), checkpoint.model)
        for method in methods
    }
    records: list[Record] = []
    unusable, drops = {}, False
    for number, photo in enumerate(photos):
        complete[CONTROL] = {"seed": number}
        try:
            if not records:
                # Warm up: the first passes are slow, so the first photo is timed the second time.
                _maps(checkpoint, photo, methods, complete)
            traced, maps, seconds, plain = _maps(checkpoint, photo, methods, complete)
            classifier = MaskedClassifier(
                traced,
                int(traced.logits.argmax()),
                temperature=checkpoint.calibration.temperature,
                bfloat16=bfloat16,
            )
            drops = classifier.drops
            records.append(Record(photo, score_one_map(classifier, maps, steps), seconds, plain))
        except (PhotoError, MethodError) as error:
            unusable[photo] = str(error)
        if report:
            report(number + 1, len(photos))
    if not records:
        first = "".join(f" {reason}" for reason in list(unusable.values())[:1])
        raise DataError(
            f"None of the photos can be used with these methods; change one of them.{first}"
        )
    return Benchmark(checkpoint.ref, tuple(records), unusable, drops, bfloat16)


def _maps(
    checkpoint: Checkpoint, photo: Path, methods: Sequence[Method], options: Mapping[str, Options]
) -> tuple[TracedPass, dict[str, Float[Tensor, "rows cols"]], dict[str, float], float]:
    """The traced pass, every method's map and its seconds, and the seconds of a plain pass."""
    model, pixels = checkpoint.model, checkpoint.preprocessing(read_photo(photo)).pixels
    start = perf_counter()
    with torch.no_grad():
        model(pixels)
    plain = perf_counter() - start
    traced = run_with_trace(model, pixels)
    target = traced.logits.argmax(dim=-1)
    maps, seconds = {}, {}
    for method in methods:
        start = perf_counter()
        own_pass = method.run_with_trace(model, pixels)
        try:
            maps[method.name] = method(own_pass, target, options[method.name])[0]
        except MethodError as error:
            raise MethodError(f"{photo.name}, {method.name}: {error}") from error
        seconds[method.name] = perf_counter() - start
    return traced, maps, seconds, plain
