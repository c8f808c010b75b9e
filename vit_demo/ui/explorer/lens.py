"""The depth lens as JSON data: the head's output after each layer, for the offered classes."""

import base64
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vit_demo.analysis import Analysis
from vit_demo.explanations import TracedPass
from vit_demo.explanations.depth_lens import depends_on_photo, depth_lens
from vit_demo.explanations.legrad import unsupported_by_legrad
from vit_demo.models.base import Subject, problem_of
from vit_demo.predictions import scores


def lens_to_come(model: Subject) -> dict[str, Any]:
    """The lens entry of the first response: the page may request it, or the reason why not."""
    if unsupported_by_legrad(model):
        return {"reason": {"key": "lens.unreadable"}}
    if problem_of(model) == "regression":
        return {"reason": {"key": "lens.no_probability"}}
    return {"to_come": True}


def lens_data(
    traced: TracedPass,
    analysis: Analysis,
    examples: Float[Tensor, "photos layers classes"],
    classes: int,
) -> dict[str, Any]:
    """Probabilities of the top `classes` after every layer that the head can read.

    `depends` says for each layer whether the top class differs between photos: this one and the
    examples. Rows of the float32 bytes are classes, columns are layers.
    """
    found = depth_lens(traced)
    temperature = analysis.checkpoint.calibration.temperature
    probabilities = scores(found.logits[0], analysis.checkpoint.model.problem, temperature)
    shown = [prediction.index for prediction in analysis.predictions[:classes]]
    rows = probabilities[:, shown].T.float().cpu().contiguous().numpy()
    return {
        "layers": list(found.layers),
        "classes": shown,
        "bytes": base64.b64encode(rows.tobytes()).decode("ascii"),
        "depends": depends_on_photo(torch.cat([found.logits, examples])).tolist(),
        "examples": len(examples),
    }
