"""Many photos: which method tells the truth best, by how much, and at what cost.

photos   the photos of a study      points   shares of the patches, from none to all
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

# In forward passes; what costs more is too slow to be the first map that a visitor sees.
QUICK_COST = 4.0

# Every other map is also set against this one, the best known of them.
USUAL = DEFAULT_METHOD

# Photos that a half must have for a choice made on the one to be judged on the other.
FEWEST_IN_A_HALF = 5

Report = Callable[[int, int], None]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Mean:
    """A mean over photos, and where 95 % of the means of resampled photos lie.

    One photo alone has no interval.
    """

    value: float
    interval: Interval | None


@dataclass(frozen=True, eq=False)
class Record:
    """One photo: every method's marks and its seconds, and those of a plain forward pass."""

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
        """What was compared, in the order of the table of methods."""
        return list(self.records[0].scores)

    @property
    def steps(self) -> int:
        """The steps of a curve: fewer than asked for on a grid with fewer patches."""
        return max(len(record.scores[CONTROL].deletion.shares) for record in self.records) - 1

    def figures(self, method: str, figure: str) -> Float[Tensor, " photos"]:
        """One figure of one method on every photo."""
        values = [record.scores[method].figure(figure) for record in self.records]
        return torch.tensor(values, dtype=torch.float64)

    def mean(self, method: str, figure: str) -> Mean:
        """The mean over all photos."""
        return bootstrapped(self.figures(method, figure))

    def difference(self, method: str, other: str, figure: str) -> Mean:
        """By how much a method's figure is higher than another's on the same photos (paired)."""
        return bootstrapped(self.figures(method, figure) - self.figures(other, figure))

    def cost(self, method: str) -> float:
        """Seconds for a map over those of a plain forward pass, both medians over the photos."""
        plain = median(record.plain for record in self.records)
        return median(record.seconds[method] for record in self.records) / plain

    @property
    def quick(self) -> list[str]:
        """The methods that are cheap enough to be drawn at once; the control is none of them."""
        names = (name for name in self.methods if name != CONTROL)
        return [name for name in names if self.cost(name) <= QUICK_COST]

    def curve(self, method: str, figure: str) -> Float[Tensor, "2 points"]:
        """The mean deletion or insertion curve: shares of the patches, and probabilities.

        Photos on grids of other sizes have other shares; between them a line is drawn.
        """
        shares = np.linspace(0, 1, self.steps + 1)
        curves = (getattr(record.scores[method], figure) for record in self.records)
        lines = [np.interp(shares, c.shares.numpy(), c.probabilities.numpy()) for c in curves]
        return torch.from_numpy(np.stack([shares, np.mean(lines, axis=0)]))

    def halves(self, seed: int = 0) -> tuple["Benchmark", "Benchmark"] | None:
        """The photos by halves, drawn by `seed`: one to choose on, the other to report.

        None where there are too few for either.
        """
        count = len(self.records) // 2
        if count < FEWEST_IN_A_HALF:
            return None
        drawn = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.records), generator=drawn).tolist()
        first, second = (
            tuple(self.records[place] for place in sorted(part))
            for part in (order[:count], order[count:])
        )
        return replace(self, records=first), replace(self, records=second)

    def ranked(self, among: Sequence[str] | None = None) -> list[str]:
        """Methods from the most faithful to the least, by their summed ranks in all figures.

        Equal values share their ranks, and equal sums are told apart by cost. The control takes
        no part.
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
    """The mean, and the quantiles of the means of RESAMPLES draws of as many, with replacement."""
    if len(values) == 1:
        return Mean(float(values[0]), None)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(len(values), (RESAMPLES, len(values)), generator=generator)
    tail = (1 - CONFIDENCE) / 2
    ends = torch.tensor([tail, 1 - tail], dtype=values.dtype)
    low, high = values[draws].mean(dim=1).quantile(ends).tolist()
    return Mean(float(values.mean()), (low, high))


def compared(checkpoint: Checkpoint, names: Sequence[str] | None = None) -> list[Method]:
    """The methods to compare, in the table's order: those named, or all that fit the checkpoint.

    The control and the usual one are always among them. Raises MethodError for a name that there
    is not, or a method that does not fit.
    """
    reasons = {able.method.name: able.unsupported_reason for able in capabilities(checkpoint.model)}
    if names is None:
        return [method for name, method in METHODS.items() if reasons[name] is None]
    for name in names:
        if reason := reasons[find_method(name).name]:
            raise MethodError(f"'{name}' does not fit this checkpoint: {reason}.")
    return [method for name, method in METHODS.items() if name in {*names, USUAL, CONTROL}]


def benchmark(
    checkpoint: Checkpoint,
    photos: Sequence[Path],
    methods: Sequence[Method],
    steps: int = STEPS,
    report: Report | None = None,
    options: Mapping[str, Options] | None = None,
    bfloat16: bool = False,
) -> Benchmark:
    """Every method's marks on every photo, for the class that the model finds likeliest.

    `options` are those of some methods, by name; for `bfloat16` see `MaskedClassifier`. A photo
    that cannot be read, or of which a method finds no map at all, is left out and reported.
    Raises DataError when none is left, CheckpointError for one whose answers are no numbers.
    """
    given: dict[str, Options] = {
        method.name: method.options((options or {}).get(method.name, {}), checkpoint.model)
        for method in methods
    }
    records: list[Record] = []
    unusable, drops = {}, False
    for place, photo in enumerate(photos):
        given[CONTROL] = {"seed": place}
        try:
            if not records:
                # The first pass of anything is slow; it is made twice, and timed the second time.
                _maps(checkpoint, photo, methods, given)
            traced, maps, seconds, plain = _maps(checkpoint, photo, methods, given)
            case = MaskedClassifier(
                traced,
                int(traced.logits.argmax()),
                temperature=checkpoint.calibration.temperature,
                bfloat16=bfloat16,
            )
            drops = case.drops
            records.append(Record(photo, score_one_map(case, maps, steps), seconds, plain))
        except (PhotoError, MethodError) as error:
            unusable[photo] = str(error)
        if report:
            report(place + 1, len(photos))
    if not records:
        told = "".join(f" {reason}" for reason in list(unusable.values())[:1])
        raise DataError(f"There is no photo to try these maps on; change either.{told}")
    return Benchmark(checkpoint.ref, tuple(records), unusable, drops, bfloat16)


def _maps(
    checkpoint: Checkpoint, photo: Path, methods: Sequence[Method], options: Mapping[str, Options]
) -> tuple[TracedPass, dict[str, Float[Tensor, "rows cols"]], dict[str, float], float]:
    """A plain pass, then every method's map; how long each took, and how long the plain pass."""
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
        asked = method.run_with_trace(model, pixels)
        try:
            maps[method.name] = method(asked, target, options[method.name])[0]
        except MethodError as error:
            raise MethodError(f"{photo.name}, {method.name}: {error}") from error
        seconds[method.name] = perf_counter() - start
    return traced, maps, seconds, plain
