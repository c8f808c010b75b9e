"""Randomisation over many photos: which maps stay the same though the model has forgotten."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from vit_demo.checkpoints.checkpoint import Checkpoint
from vit_demo.errors import DataError, PhotoError
from vit_demo.explanations import Method, watch
from vit_demo.faithfulness.randomise import cascade
from vit_demo.photo import read_photo

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Forgetting:
    """After everything up to `part` was made random: the mean likeness to the first maps.

    Photos where nothing of a map was left do not count; None where there was none.
    """

    part: str
    likeness: float | None
    photos: int


def forgetting(
    checkpoint: Checkpoint,
    photos: Sequence[Path],
    methods: Sequence[Method],
    report: Report | None = None,
) -> dict[str, list[Forgetting]]:
    """The cascade of every method on every photo, for the class that is likeliest at first.

    Each photo has noise of its own. Raises DataError where no photo can be read.
    """
    found: dict[str, list[list[float | None]]] = {method.name: [] for method in methods}
    parts: list[str] = []
    for place, photo in enumerate(photos):
        try:
            pixels = checkpoint.preprocessing(read_photo(photo)).pixels
        except PhotoError:
            continue
        target = int(watch(checkpoint.model, pixels).logits.argmax())
        for method in methods:
            options = method.options({}, checkpoint.model)
            steps = cascade(method, checkpoint.model, pixels, target, options, seed=place)
            parts = [step.part for step in steps]
            found[method.name].append([step.value for step in steps])
        if report:
            report(place + 1, len(photos))
    if not parts:
        raise DataError("None of these photos can be read; give some others.")
    return {
        name: [
            Forgetting(part, fmean(known) if known else None, len(known))
            for part, values in zip(parts, zip(*lines, strict=True), strict=True)
            for known in [[value for value in values if value is not None]]
        ]
        for name, lines in found.items()
    }
