"""Which family a config.json describes, in either library's layout."""

from collections.abc import Mapping
from typing import Any

from vit_demo.checkpoints import timm, transformers
from vit_demo.errors import UnsupportedError
from vit_demo.models import Classifier
from vit_demo.models.mobilevit import MobileViT
from vit_demo.models.swin import Swin
from vit_demo.models.vit import VisionTransformer

# What transformers calls its models that name pictures.
CLASSIFIER = "ForImageClassification"

# Every family that is not named here is a plain Vision Transformer.
MODELS: Mapping[str, type[Classifier]] = {"swin": Swin, "mobilevit": MobileViT}


def is_timm(config_json: Mapping[str, Any]) -> bool:
    """timm names one architecture; transformers lists its classes, and states a model type."""
    return isinstance(config_json.get("architecture"), str) and "model_type" not in config_json


def check_family(config_json: Mapping[str, Any], source: str) -> str:
    """The family that a config.json of either layout describes; UnsupportedError for others."""
    layout = timm if is_timm(config_json) else transformers
    return layout.check_family(config_json, source)


def check_classifier(config_json: Mapping[str, Any], source: str) -> str:
    """The family, if the configuration does not say that the model has no head to name with."""
    family = check_family(config_json, source)
    stated = config_json.get("architectures")
    if isinstance(stated, list) and stated and not any(CLASSIFIER in str(name) for name in stated):
        raise UnsupportedError(f"{source} is a backbone without a classification head.")
    return family


def name_of(family: str) -> str:
    """A family as its paper writes it."""
    return transformers.FAMILIES[family]


def model_of(family: str) -> type[Classifier]:
    """The model that reads a family's checkpoints."""
    return MODELS.get(family, VisionTransformer)
