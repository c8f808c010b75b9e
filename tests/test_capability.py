"""What each method can say about each architecture follows from the table and the models."""

from dataclasses import replace

import pytest

from vit_demo.explanations import METHODS
from vit_demo.explanations.capability import capabilities
from vit_demo.models.mobilevit import MobileViT
from vit_demo.models.swin import Swin
from vit_demo.models.vit import VisionTransformer


@pytest.mark.parametrize("model", [VisionTransformer, Swin, MobileViT])
def test_every_method_of_the_table_is_there_and_as_exact_as_the_flows_it_follows(model):
    found = capabilities(model)
    assert [one.method for one in found] == list(METHODS.values())
    for one in found:
        assert one.exact is (model.exact_flows or not one.method.follows_flows)


def test_what_does_not_fit_says_why():
    reasons = {one.method.name: one.unsupported_reason for one in capabilities(MobileViT)}
    assert "convolutions" in reasons.pop("legrad")
    assert "convolutions" in reasons.pop("evidence")
    assert set(reasons.values()) == {None}
    assert {one.unsupported_reason for one in capabilities(VisionTransformer)} == {None}


def test_a_model_has_the_options_that_suit_it(tiny_model):
    found = {one.method.name: one for one in capabilities(tiny_model)}
    assert found["occlusion"].options == METHODS["occlusion"].options({}, tiny_model)
    assert found["occlusion"].options != METHODS["occlusion"].defaults


def test_a_method_that_is_added_appears_by_itself():
    added = replace(METHODS["rollout"], name="follow", class_specific=True)
    found = capabilities(Swin, {**METHODS, "follow": added})
    assert found[-1].as_json()["name"] == "follow"
    assert found[-1].as_json()["class_specific"] is True
