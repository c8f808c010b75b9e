"""The account of a logit as the explorer draws it."""

from dataclasses import replace

import pytest
from test_payload import looked

from vit_demo.ui.explorer.account import account_data
from vit_demo.ui.explorer.payload import map_view
from vit_demo.ui.explorer.words import words

VARIANTS = {
    "class token": ({}, ["cls_token"]),
    "registers": ({"registers": 3}, ["cls_token", "reg_token"]),
    "distilled": ({"distilled": True}, ["cls_token", "dist_token"]),
    "mean of the patches": ({"class_token": False, "pooling": "mean"}, []),
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def variant(request, tiny_config, make_model, noise_photo):
    changes, prefix = request.param
    return looked(make_model(replace(tiny_config, **changes)), noise_photo(101, 67)), prefix


def test_the_parts_are_named_and_add_up_to_the_centred_logit(variant):
    look, prefix = variant
    analysis = look.explain("evidence")
    content = map_view(analysis)["account"]
    names = [part["label"]["key"].removeprefix("account.") for part in content["parts"]]
    assert names == ["patches", *prefix, "mlps", "embedding", "biases"]
    assert sum(part["value"] for part in content["parts"]) == pytest.approx(content["total"])
    logits = look.traced.logits[0]
    assert content["total"] == pytest.approx(float(logits.max() - logits.mean()), abs=1e-4)
    assert content["parts"][0]["value"] == pytest.approx(float(analysis.heatmap.sum()), abs=1e-4)


def test_of_two_classes_it_is_the_difference_of_their_logits(variant):
    look, _ = variant
    analysis = look.explain("evidence", target="class 1", versus="class 3")
    content = account_data(analysis)
    logits = look.traced.logits[0]
    assert content["total"] == pytest.approx(float(logits[1] - logits[3]), abs=1e-4)
    assert content["sum"]["parameters"] == {"target": "class 1", "versus": "class 3"}


def test_a_map_of_logits_is_no_share_and_no_probability(variant):
    look, _ = variant
    view = map_view(look.explain("evidence"))
    assert (view["format"], view["unit"]) == ("number", {"key": "unit.evidence"})
    assert "logit" in words()[view["unit"]["key"]]
    other = map_view(look.explain("relevance"))
    assert "account" not in other
    assert other["format"] == "percent"
    with pytest.raises(RuntimeError, match="has no account"):
        account_data(look.explain("relevance"))
