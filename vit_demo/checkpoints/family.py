"""Which family a config.json describes, in either library's layout."""

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

# What transformers calls its models that name pictures.
CLASSIFIER = "ForImageClassification"


# How transformers begins the names of its tensors, and timm does not.
OF_TRANSFORMERS = re.compile(r"(\w+\.)?(embeddings|encoder)\.")


Layout = Literal["timm", "transformers", "bare"]


def is_timm(config_json: Mapping[str, Any]) -> bool:
    """timm names one architecture; transformers lists its classes, and states a model type.

    A configuration with an architecture is timm's, unless its model type is one of transformers'
    that is read here: whoever adds a model type of their own does not change the tensors.
    """
    return isinstance(config_json.get("architecture"), str) and not _of_transformers(config_json)


def layout_of(config_json: Mapping[str, Any], folder: Path, source: str) -> Layout:
    """How to read a folder: by what its configuration says, and by its tensors' names.

    A configuration that states both libraries' keys is settled by the names. One that names no
    model that is read, as one made by hand may, is left aside where the names are timm's: the
    tensors are then read alone, `bare`.
    """
    if is_timm(config_json):
        return "timm"
    described = _of_transformers(config_json)
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


def _of_transformers(config_json: Mapping[str, Any]) -> bool:
    known = {model_type for family in FAMILIES for model_type in family.model_types}
    return str(config_json.get("model_type")) in known


def check_family(config_json: Mapping[str, Any], source: str) -> str:
    """The family that a config.json of either layout describes; UnsupportedError for others."""
    layout = timm_format if is_timm(config_json) else hf_format
    return layout.check_family(config_json, source)


def check_classifier(config_json: Mapping[str, Any], source: str) -> str:
    """The family, if the configuration does not say that the model has no head to name with."""
    family = check_family(config_json, source)
    stated = config_json.get("architectures")
    if isinstance(stated, list) and stated and not any(CLASSIFIER in str(name) for name in stated):
        raise UnsupportedError(f"{source} is a backbone without a classification head.")
    return family


def name_of(model_type: str) -> str:
    """A family as its paper writes it."""
    return of_model_type(model_type, "").model_types[model_type]


def model_of(model_type: str) -> type[Classifier]:
    """The model that reads a family's checkpoints."""
    return of_model_type(model_type, "").model
