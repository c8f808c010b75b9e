"""Which methods support which architecture follows from the table and the models."""

from dataclasses import replace

from vit_demo.explanations import METHODS
from vit_demo.explanations.capability import capabilities
from vit_demo.models.mobilevit import MobileViT
from vit_demo.models.swin import Swin
from vit_demo.models.vit import VisionTransformer


def test_an_unsupported_method_has_a_reason():
    reasons = {one.method.name: one.unsupported_reason for one in capabilities(MobileViT)}
    assert "convolutions" in reasons.pop("legrad")
    assert "convolutions" in reasons.pop("evidence")
    assert set(reasons.values()) == {None}
    assert {one.unsupported_reason for one in capabilities(VisionTransformer)} == {None}


def test_an_added_method_is_listed():
    added = replace(METHODS["rollout"], name="follow", class_specific=True)
    found = capabilities(Swin, {**METHODS, "follow": added})
    assert found[-1].as_json()["name"] == "follow"
    assert found[-1].as_json()["class_specific"] is True
