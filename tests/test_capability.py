"""What each method can say about each architecture follows from the table and the models."""

from dataclasses import replace

import pytest

from vit_demo.explanations import METHODS
from vit_demo.explanations.capability import capabilities
from vit_demo.models.mobilevit import MobileViT
from vit_demo.models.swin import Swin
from vit_demo.models.vit import VisionTransformer


@pytest.mark.parametrize("model", [VisionTransformer, Swin, MobileViT])
def test_every_method_of_the_table_is_there_and_as_exact_as_the_model(model):
    found = capabilities(model)
    assert [one.method for one in found] == list(METHODS.values())
    assert {one.exact for one in found} == {model.exact_flows}


def test_a_method_that_is_added_appears_by_itself():
    added = replace(METHODS["rollout"], name="relevance", class_specific=True)
    found = capabilities(Swin, {**METHODS, "relevance": added})
    assert found[-1].as_json()["name"] == "relevance"
    assert found[-1].as_json()["class_specific"] is True
