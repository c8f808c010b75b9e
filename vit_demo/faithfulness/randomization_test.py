"""Randomisation over many photos: which maps stay the same though the model has forgotten."""

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
    """After everything up to `part` was made random: the mean likeness to the first maps.

    Photos where nothing of a map was left do not count; None where there was none.
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
    """The cascade of every method on every photo, for the class that is likeliest at first.

    `options` are those of some methods, by name. Each photo has noise of its own; where a method
    finds no map of it, it does not count. Raises PhotoError for one that cannot be read.
    """
    model = checkpoint.model
    found: dict[str, list[list[float | None]]] = {method.name: [] for method in methods}
    for place, photo in enumerate(photos):
        pixels = checkpoint.preprocessing(read_photo(photo)).pixels
        target = int(run_with_trace(model, pixels).logits.argmax())
        for method in methods:
            told = method.options((options or {}).get(method.name, {}), model)
            try:
                steps = randomize_cascade(method, model, pixels, target, told, seed=place)
            except MethodError:
                continue
            found[method.name].append([step.value for step in steps])
        if report:
            report(place + 1, len(photos))
    return {name: _means(model, lines) for name, lines in found.items()}


def _means(model: nn.Module, lines: Sequence[Sequence[float | None]]) -> list[RandomizationResult]:
    means = []
    for place, part in enumerate(parts_of(model)):
        known = [value for line in lines if (value := line[place]) is not None]
        means.append(RandomizationResult(part, fmean(known) if known else None, len(known)))
    return means
