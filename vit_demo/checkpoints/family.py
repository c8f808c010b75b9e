"""Which family a config.json describes, in either library's layout."""

from collections.abc import Mapping
from typing import Any

from vit_demo.checkpoints import hf_format, timm_format
from vit_demo.checkpoints.families import of_model_type
from vit_demo.errors import UnsupportedError
from vit_demo.models import Classifier

# What transformers calls its models that name pictures.
CLASSIFIER = "ForImageClassification"


def is_timm(config_json: Mapping[str, Any]) -> bool:
    """timm names one architecture; transformers lists its classes, and states a model type."""
    return isinstance(config_json.get("architecture"), str) and "model_type" not in config_json


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
