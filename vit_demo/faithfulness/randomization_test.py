"""Randomization on many photos: which maps stay the same although the weights are random."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from torch import nn

from vit_demo.checkpoints.checkpoint import Checkpoint
from vit_demo.errors import MethodError
from vit_demo.explanations import Method, Options, run_with_trace
from vit_demo.faithfulness.randomization import parts_of, randomize_cascade
from vit_demo.photo import read_photo

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class RandomizationResult:
    """The mean similarity to the original maps after all parts up to `part` were randomized.

    Photos without a map do not count; None if there was no photo with a map.
    """

    part: str
    similarity: float | None
    photos: int


def randomization_test(
    checkpoint: Checkpoint,
    photos: Sequence[Path],
    methods: Sequence[Method],
    report: Report | None = None,
    options: Mapping[str, Options] | None = None,
) -> dict[str, list[RandomizationResult]]:
    """The cascade of every method on every photo, for the top class of the original model.

    `options` maps names of methods to their options. Each photo has its own random weights. A photo
    for which a method gives no map does not count. Raises PhotoError for one that cannot be read.
    """
    model = checkpoint.model
    found: dict[str, list[list[float | None]]] = {method.name: [] for method in methods}
    for number, photo in enumerate(photos):
        pixels = checkpoint.preprocessing(read_photo(photo)).pixels
        target = int(run_with_trace(model, pixels).logits.argmax())
        for method in methods:
            complete = method.options((options or {}).get(method.name, {}), model)
            try:
                steps = randomize_cascade(method, model, pixels, target, complete, seed=number)
            except MethodError:
                continue
            found[method.name].append([step.value for step in steps])
        if report:
            report(number + 1, len(photos))
    return {name: _means(model, lines) for name, lines in found.items()}


def _means(model: nn.Module, lines: Sequence[Sequence[float | None]]) -> list[RandomizationResult]:
    means = []
    for number, part in enumerate(parts_of(model)):
        values = [value for line in lines if (value := line[number]) is not None]
        means.append(RandomizationResult(part, fmean(values) if values else None, len(values)))
    return means
