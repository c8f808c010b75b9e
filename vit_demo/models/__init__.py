"""The models: one file each, with its configuration; `base` defines their common interface."""

from vit_demo.models.base import Classifier, ModelConfig, ModelSpec

__all__ = ["Classifier", "ModelConfig", "ModelSpec"]
