"""A benchmark as numbers for JSON and tables: every score, compared with noise and rollout."""

from collections.abc import Mapping, Sequence
from typing import Any

from vit_demo.faithfulness.benchmark import BASELINE, Benchmark, Mean
from vit_demo.faithfulness.map_scores import CONTROL, FIGURES, deleting
from vit_demo.faithfulness.randomization_test import RandomizationResult


def as_json(
    whole: Benchmark, randomization_test: Mapping[str, Sequence[RandomizationResult]]
) -> dict[str, Any]:
    """The benchmark; its `choice` is made on one half of the photos and scored on the other."""
    content: dict[str, Any] = {
        "checkpoint": whole.ref,
        "photos": len(whole.records),
        "left_out": {str(photo): reason for photo, reason in whole.unusable.items()},
        "steps": whole.steps,
        "deletion": deleting(whole.drops),
        "bfloat16": whole.bfloat16,
        "methods": _methods(whole),
        "curves": {figure: _curves(whole, figure) for figure in ("deletion", "insertion")},
    }
    if halves := whole.halves():
        selection, report = halves
        content["choice"] = {
            "photos": [len(selection.records), len(report.records)],
            "ranked": selection.ranked(),
            "quick": selection.ranked(whole.quick),
            "methods": _methods(report),
        }
    if randomization_test:
        content["randomised"] = {
            name: [
                {"part": step.part, "likeness": step.similarity, "photos": step.photos}
                for step in steps
            ]
            for name, steps in randomization_test.items()
        }
    return content


def _methods(study: Benchmark) -> dict[str, Any]:
    return {
        name: {
            **{figure: _figure(study, name, figure) for figure in FIGURES},
            "cost": study.cost(name),
        }
        for name in study.methods
    }


def _curves(study: Benchmark, figure: str) -> dict[str, list[float]]:
    """The mean curves: fractions of the patches, and each method's probabilities there."""
    curves = {name: study.curve(name, figure).tolist() for name in study.methods}
    shares, _ = curves[CONTROL]
    return {"shares": shares, **{name: values for name, (_, values) in curves.items()}}


def _figure(study: Benchmark, name: str, figure: str) -> dict[str, Any]:
    others = {f"less_{other}": other for other in (CONTROL, BASELINE) if other != name}
    return {
        **_mean(study.mean(name, figure)),
        **{
            key: _mean(study.difference(name, other, figure))
            for key, other in others.items()
            if other in study.methods
        },
    }


def _mean(mean: Mean) -> dict[str, Any]:
    return {"mean": mean.value, "interval": mean.interval and list(mean.interval)}
