"""A model says what it can do: what is said without weights is what the model itself does."""

import pytest
import torch

from vit_demo.explanations import METHODS
from vit_demo.models import Classifier, ModelSpec
from vit_demo.models.mobilevit import MobileViT
from vit_demo.models.swin import Swin
from vit_demo.models.vit import VisionTransformer, ViTConfig

SMALL = {"width": 24, "depth": 1, "heads": 3, "mlp_width": 32, "patch_size": 8}


@pytest.mark.parametrize("architecture", [VisionTransformer, Swin, MobileViT])
def test_every_model_has_one_base_class(architecture):
    assert issubclass(architecture, Classifier)


@pytest.mark.parametrize("changes", [{}, {"representation": 8}, {"pooling": "attention"}])
def test_a_method_hears_the_same_with_weights_and_without(changes):
    config = ViTConfig(5, image_size=(32, 32), **SMALL, **changes)
    spec = ModelSpec(VisionTransformer, config)
    for method in METHODS.values():
        said = method.unsupported_reason(config.build())
        assert method.unsupported_reason(spec) == said
        assert method.options({}, spec) == method.options({}, config.build())
    assert bool(METHODS["evidence"].unsupported_reason(spec)) == bool(changes)


def test_whether_a_class_token_stands_in_front_is_a_matter_of_the_configuration():
    config = ViTConfig(5, image_size=(32, 32), **SMALL)
    without = ViTConfig(5, image_size=(32, 32), class_token=False, pooling="mean", **SMALL)
    assert VisionTransformer.has_class_token(config)
    assert not VisionTransformer.has_class_token(without)


def test_what_a_model_does_not_say_it_cannot_do():
    class Silent(Classifier):
        pass

    reasons = {name for name, method in METHODS.items() if method.unsupported_reason(Silent)}
    assert reasons == {"legrad", "evidence"}
    assert not Silent.exact_flows
    assert not Silent.drops_tokens
    with pytest.raises(NotImplementedError):
        Silent().embed(torch.zeros(1, 3, 8, 8))
