"""Options are read from Python values and from text, or refused with a clear message."""

import pytest

from vit_demo.errors import OptionError
from vit_demo.explanations import METHODS, Option

LAYER = Option("layer", -1)
RATIO = Option("ratio", 0.0)
FUSION = Option("fusion", "mean", ("mean", "max"))


@pytest.mark.parametrize(
    ("option", "given", "value"),
    [
        (LAYER, 3, 3),
        (LAYER, "3", 3),
        (LAYER, "-2", -2),
        (RATIO, 0.5, 0.5),
        (RATIO, 0, 0.0),
        (RATIO, "0.25", 0.25),
        (FUSION, "max", "max"),
    ],
)
def test_numbers_and_choices_are_read(option, given, value):
    read = option.read(given)
    assert read == value
    assert type(read) is type(option.default)


@pytest.mark.parametrize(
    ("option", "given", "words"),
    [
        (LAYER, "three", "layer=three, but it must be a whole number; write it like layer=-1"),
        (LAYER, "", "layer=, but it must be a whole number"),
        (LAYER, "2.5", "layer=2.5, but it must be a whole number"),
        (LAYER, 2.0, "layer=2.0, but it must be a whole number"),
        (LAYER, True, "layer=True, but it must be a whole number"),
        (RATIO, "half", "ratio=half, but it must be a number; write it like ratio=0.0"),
        (RATIO, False, "ratio=False, but it must be a number"),
        (FUSION, "min", "fusion=min, but it must be one of: mean, max"),
        (FUSION, 1, "fusion=1, but it must be one of: mean, max"),
    ],
)
def test_invalid_values_are_refused(option, given, words):
    with pytest.raises(OptionError, match=words):
        option.read(given)


def test_the_options_are_the_keyword_only_parameters():
    assert METHODS["rollout"].declared_options == (
        Option("fusion", "mean", ("mean", "max", "min")),
        Option("discard_ratio", 0.0),
        Option("start_layer", 1),
    )
    assert METHODS["relevance"].declared_options == ()


def test_given_options_override_recommended_ones(tiny_model):
    occlusion = METHODS["occlusion"]
    assert occlusion.defaults == {"hide": "drop", "block": 1}
    assert occlusion.options({}, tiny_model) == {"hide": "drop", "block": 2}
    assert occlusion.options({"block": "3"}, tiny_model) == {"hide": "drop", "block": 3}


def test_only_methods_that_follow_flows_are_approximate_if_the_flows_are():
    exact = {name for name, method in METHODS.items() if method.exact(exact_flows=False)}
    assert exact == {"occlusion", "random"}
    assert all(method.exact(exact_flows=True) for method in METHODS.values())
