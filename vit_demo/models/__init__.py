"""The models, and the one place that knows which configuration belongs to which."""

from vit_demo.models.mobilevit import MobileViT, MobileViTConfig
from vit_demo.models.swin import Swin, SwinConfig
from vit_demo.models.vit import VisionTransformer, ViTConfig

ModelConfig = ViTConfig | SwinConfig | MobileViTConfig
Model = VisionTransformer | Swin | MobileViT


def build(config: ModelConfig) -> Model:
    """The model that a configuration describes, with fresh weights."""
    match config:
        case ViTConfig():
            return VisionTransformer(config)
        case SwinConfig():
            return Swin(config)
        case MobileViTConfig():
            return MobileViT(config)


__all__ = ["Model", "ModelConfig", "build"]
