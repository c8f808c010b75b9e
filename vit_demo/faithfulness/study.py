"""Many photos: which method tells the truth best, by how much, and at what cost.

photos   the photos of a study      resamples   draws of as many photos, with replacement
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor

from vit_demo.checkpoints.checkpoint import Checkpoint
from vit_demo.errors import DataError, MethodError, PhotoError
from vit_demo.explanations import METHODS, Method, Options, find_method, watch
from vit_demo.explanations.capability import capabilities
from vit_demo.faithfulness.case import Case
from vit_demo.faithfulness.marks import CONTROL, FIGURES, STEPS, Marks, mark
from vit_demo.photo import read_photo

CONFIDENCE, RESAMPLES = 0.95, 2000

# In forward passes; what costs more is too slow to be the first map that a visitor sees.
QUICK_COST = 4.0

# Every other map is also set against this one, the best known of them.
USUAL = "rollout"

Report = Callable[[int, int], None]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Mean:
    """A mean over photos, and where 95 % of the means of resampled photos lie."""

    value: float
    interval: Interval


@dataclass(frozen=True, eq=False)
class Record:
    """One photo: every method's marks, and its seconds over those of a plain forward pass."""

    photo: Path
    marks: Mapping[str, Marks]
    cost: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Study:
    """The records of some photos, all with the same methods."""

    ref: str
    records: tuple[Record, ...] = field(repr=False)
    unusable: Mapping[Path, str]
    steps: int
    drops: bool
    bfloat16: bool = False

    @property
    def methods(self) -> list[str]:
        """What was compared, in the order of the table of methods."""
        return list(self.records[0].marks)

    def figures(self, method: str, figure: str) -> Float[Tensor, " photos"]:
        """One figure of one method on every photo."""
        values = [record.marks[method].figure(figure) for record in self.records]
        return torch.tensor(values, dtype=torch.float64)

    def mean(self, method: str, figure: str) -> Mean:
        """The mean over all photos."""
        return bootstrapped(self.figures(method, figure))

    def difference(self, method: str, other: str, figure: str) -> Mean:
        """By how much a method's figure is higher than another's on the same photos (paired)."""
        return bootstrapped(self.figures(method, figure) - self.figures(other, figure))

    def cost(self, method: str) -> float:
        """Seconds for a map over those of a plain forward pass; the median over the photos."""
        return median(record.cost[method] for record in self.records)

    @property
    def quick(self) -> list[str]:
        """The methods that are cheap enough to be drawn at once."""
        return [name for name in self.methods if self.cost(name) <= QUICK_COST]

    def curve(self, method: str, figure: str) -> Float[Tensor, "2 points"]:
        """The mean deletion or insertion curve: shares of the patches, and probabilities."""
        curves = [getattr(record.marks[method], figure) for record in self.records]
        return torch.stack(
            [curves[0].shares, torch.stack([c.probabilities for c in curves]).double().mean(dim=0)]
        )

    def halves(self, seed: int = 0) -> tuple["Study", "Study"]:
        """The photos by halves, drawn by `seed`: one to choose on, the other to report."""
        if len(self.records) == 1:
            raise DataError("One photo cannot be halved; give two or more.")
        order = torch.randperm(
            len(self.records), generator=torch.Generator().manual_seed(seed)
        ).tolist()
        middle = len(order) // 2
        first, second = (
            tuple(self.records[place] for place in sorted(part))
            for part in (order[:middle], order[middle:])
        )
        return replace(self, records=first), replace(self, records=second)

    def ranked(self, among: Sequence[str] | None = None) -> list[str]:
        """Methods from the most faithful to the least, by their summed ranks in all figures.

        Equal sums are told apart by cost. The control takes no part.
        """
        names = [name for name in among or self.methods if name != CONTROL]
        ranks = dict.fromkeys(names, 0)
        for figure, more_is_better in FIGURES.items():
            best_first = sorted(
                names,
                key=lambda name: self.figures(name, figure).mean().item(),
                reverse=more_is_better,
            )
            for place, name in enumerate(best_first):
                ranks[name] += place
        return sorted(names, key=lambda name: (ranks[name], self.cost(name)))


def bootstrapped(values: Float[Tensor, " photos"], seed: int = 0) -> Mean:
    """The mean, and the quantiles of the means of RESAMPLES draws."""
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
    reasons = {able.method.name: able.why_not for able in capabilities(checkpoint.model)}
    if names is None:
        return [method for name, method in METHODS.items() if reasons[name] is None]
    for name in names:
        if reason := reasons[find_method(name).name]:
            raise MethodError(f"'{name}' does not fit this checkpoint: {reason}.")
    return [method for name, method in METHODS.items() if name in {*names, USUAL, CONTROL}]


def study(
    checkpoint: Checkpoint,
    photos: Sequence[Path],
    methods: Sequence[Method],
    steps: int = STEPS,
    report: Report | None = None,
    options: Mapping[str, Options] | None = None,
    bfloat16: bool = False,
) -> Study:
    """Every method's marks on every photo, for the class that the model finds likeliest.

    `options` are those of some methods, by name; for `bfloat16` see `Case`.
    A photo that cannot be read, or where a method finds no map at all, is left out and told.
    Raises DataError when none is left.
    """
    records, unusable, drops = [], {}, False
    given: dict[str, Options] = {
        method.name: method.options((options or {}).get(method.name, {}), checkpoint.model)
        for method in methods
    }
    for place, photo in enumerate(photos):
        given[CONTROL] = {"seed": place}
        try:
            record, drops = _record(checkpoint, photo, methods, given, steps, bfloat16)
            records.append(record)
        except (PhotoError, MethodError) as error:
            unusable[photo] = str(error)
        if report:
            report(place + 1, len(photos))
    if not records:
        told = "".join(f" {reason}" for reason in list(unusable.values())[:1])
        raise DataError(f"There is no photo to try the maps on; give some others.{told}")
    return Study(checkpoint.ref, tuple(records), unusable, steps, drops, bfloat16)


def _record(
    checkpoint: Checkpoint,
    photo: Path,
    methods: Sequence[Method],
    options: Mapping[str, Options],
    steps: int,
    bfloat16: bool,
) -> tuple[Record, bool]:
    model, pixels = checkpoint.model, checkpoint.preprocessing(read_photo(photo)).pixels
    watched = watch(model, pixels)
    target = watched.logits.argmax(dim=-1)
    temperature = checkpoint.calibration.temperature
    case = Case(watched, int(target), temperature=temperature, bfloat16=bfloat16)
    start = perf_counter()
    with torch.no_grad():
        model(pixels)
    plain = perf_counter() - start
    maps, cost = {}, {}
    for method in methods:
        start = perf_counter()
        asked = method.watch(model, pixels)
        maps[method.name] = method(asked, target, options[method.name])[0]
        cost[method.name] = (perf_counter() - start) / plain
    return Record(photo, mark(case, maps, steps), cost), case.drops
