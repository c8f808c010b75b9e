"""Options are read, from Python and from text, or refused in words."""

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
        (LAYER, "three", "layer=three, but it is a whole number; write it like layer=-1"),
        (LAYER, "", "layer=, but it is a whole number"),
        (LAYER, "2.5", "layer=2.5, but it is a whole number"),
        (LAYER, 2.0, "layer=2.0, but it is a whole number"),
        (LAYER, True, "layer=True, but it is a whole number"),
        (RATIO, "half", "ratio=half, but it is a number; write it like ratio=0.0"),
        (RATIO, False, "ratio=False, but it is a number"),
        (FUSION, "min", "fusion=min, but it is one of: mean, max"),
        (FUSION, 1, "fusion=1, but it is one of: mean, max"),
    ],
)
def test_nonsense_is_refused(option, given, words):
    with pytest.raises(OptionError, match=words):
        option.read(given)


def test_the_table_knows_its_options_from_the_functions_themselves():
    assert METHODS["rollout"].declared_options == (
        Option("fusion", "mean", ("mean", "max", "min")),
        Option("discard_ratio", 0.0),
        Option("start_layer", 1),
    )
    assert METHODS["relevance"].declared_options == ()


def test_what_was_given_goes_before_what_suits_the_model(tiny_model):
    occlusion = METHODS["occlusion"]
    assert occlusion.defaults == {"hide": "drop", "block": 1}
    assert occlusion.options({}, tiny_model) == {"hide": "drop", "block": 2}
    assert occlusion.options({"block": "3"}, tiny_model) == {"hide": "drop", "block": 3}


def test_only_what_follows_flows_is_an_approximation_where_they_are():
    exact = {name for name, method in METHODS.items() if method.exact(exact_flows=False)}
    assert exact == {"occlusion", "random"}
    assert all(method.exact(exact_flows=True) for method in METHODS.values())
