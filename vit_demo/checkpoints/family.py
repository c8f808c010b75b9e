"""Determine the model family of a config.json in either library's layout."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from vit_demo.checkpoints import hf_format, timm_format
from vit_demo.checkpoints.families import FAMILIES, of_model_type
from vit_demo.checkpoints.tutorial_format import SIGNS
from vit_demo.checkpoints.weights import tensor_names
from vit_demo.errors import CheckpointError, UnsupportedError
from vit_demo.models import Classifier

# Part of the class name of the image classifiers in transformers.
CLASSIFIER = "ForImageClassification"


# Tensor names that start like this come from transformers, never from timm.
OF_TRANSFORMERS = re.compile(r"(\w+\.)?(embeddings|encoder)\.")


Layout = Literal["timm", "transformers", "bare"]


def is_timm(config_json: Mapping[str, Any]) -> bool:
    """Whether a configuration is timm's: it has an architecture and no supported model type.

    timm states one architecture; transformers lists its classes and states a model type. A model
    type that is not supported here does not count: a user may have added it to a timm configuration
    without changing the tensors.
    """
    return isinstance(config_json.get("architecture"), str) and not _has_supported_model_type(
        config_json
    )


def layout_of(config_json: Mapping[str, Any], folder: Path, source: str) -> Layout:
    """Choose the layout of a folder from its configuration and its tensor names.

    If a configuration has the keys of both libraries, the tensor names decide. If it names no
    supported model, for example because it was written by hand, and the tensor names are timm's,
    the layout is `bare`: only the tensors are read.
    """
    if is_timm(config_json):
        return "timm"
    described = _has_supported_model_type(config_json)
    if described and not isinstance(config_json.get("architecture"), str):
        return "transformers"
    try:
        names = tensor_names(folder, source)
    except CheckpointError:
        if described:
            raise
        # A model that is not supported is refused for its name, whatever its weights are.
        return "transformers"
    if not described:
        return "bare" if any(sign in names for sign in SIGNS) else "transformers"
    return "timm" if names and not any(map(OF_TRANSFORMERS.match, names)) else "transformers"


def _has_supported_model_type(config_json: Mapping[str, Any]) -> bool:
    known = {model_type for family in FAMILIES for model_type in family.model_types}
    return str(config_json.get("model_type")) in known


def check_family(config_json: Mapping[str, Any], source: str) -> str:
    """The family that a config.json of either layout describes; UnsupportedError for others."""
    layout = timm_format if is_timm(config_json) else hf_format
    return layout.check_family(config_json, source)


def check_classifier(config_json: Mapping[str, Any], source: str) -> str:
    """Like `check_family`; also raises UnsupportedError for a model without a head."""
    family = check_family(config_json, source)
    stated = config_json.get("architectures")
    if isinstance(stated, list) and stated and not any(CLASSIFIER in str(name) for name in stated):
        raise UnsupportedError(f"{source} is a backbone without a classification head.")
    return family


def name_of(model_type: str) -> str:
    """The name of a family as in its paper."""
    return of_model_type(model_type, "").model_types[model_type]


def model_of(model_type: str) -> type[Classifier]:
    """The model class of a family."""
    return of_model_type(model_type, "").model
