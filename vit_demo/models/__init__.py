"""The models: one file each, with its configuration; `base` is what each says of itself."""

from vit_demo.models.base import Classifier, ModelConfig, ModelSpec

__all__ = ["Classifier", "ModelConfig", "ModelSpec"]
