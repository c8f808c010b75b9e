"""`problem_type` of a config.json: what the logits mean."""

from collections.abc import Mapping
from reprlib import repr as shortened
from typing import Any

from vit_demo.errors import UnsupportedError
from vit_demo.predictions import Problem

PROBLEMS: Mapping[str, Problem] = {
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
    "regression": "regression",
}


def read_problem(config_json: Mapping[str, Any], classes: int, source: str) -> Problem:
    """The problem type of a configuration, under transformers' names; single-label by default.

    A single logit is a binary label: its softmax would always be 1. Raises UnsupportedError for
    another name.
    """
    stated = config_json.get("problem_type")
    if stated is not None and stated not in list(PROBLEMS):
        raise UnsupportedError(
            f"{source} has problem_type={shortened(stated)}; readable: {', '.join(PROBLEMS)}."
        )
    problem = PROBLEMS[stated] if stated is not None else "single_label"
    return "multi_label" if classes == 1 and problem == "single_label" else problem
