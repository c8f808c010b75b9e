"""One value of a file at a time: read, left out, or refused by its name and its file."""

import math

import pytest
import torch

from vit_demo.checkpoints.values import flag, number, pair, section, shape_of, sides, whole, wholes
from vit_demo.errors import ConfigError


def test_what_is_left_out_is_the_default():
    assert whole({}, "size", 7) == 7
    assert wholes({}, "depths", (2, 2)) == (2, 2)
    assert number({}, "eps", 0.5) == 0.5
    assert flag({}, "bias", True) is True
    assert sides({}, "image_size", 8) == (8, 8)
    assert section({}, "model_args") == {}


def test_what_is_stated_is_read():
    assert whole({"size": 3}, "size", 7) == 3
    assert wholes({"depths": [1, 2]}, "depths", (2, 2)) == (1, 2)
    assert number({"ratio": 4}, "ratio", 0.5) == 4.0
    assert isinstance(number({"ratio": 4}, "ratio", 0.5), float)
    assert flag({"bias": False}, "bias", True) is False
    assert sides({"image_size": [8, 16]}, "image_size", 8) == (8, 16)
    assert section({"model_args": {"a": 1}}, "model_args") == {"a": 1}


def test_null_is_false_and_an_empty_object_and_no_number():
    stated = {"it": None}
    assert flag(stated, "it", True) is False
    assert section(stated, "it") == {}
    for read in (lambda: whole(stated, "it", 1), lambda: number(stated, "it", 1.0)):
        with pytest.raises(ConfigError, match="config.json: it=None, but it must be"):
            read()


@pytest.mark.parametrize(
    "read",
    [
        lambda stated: whole(stated, "it", 1, file="other.json"),
        lambda stated: wholes(stated, "it", (1,), file="other.json"),
        lambda stated: number(stated, "it", 1.0, file="other.json"),
        lambda stated: flag(stated, "it", True, file="other.json"),
        lambda stated: section(stated, "it", file="other.json"),
    ],
)
@pytest.mark.parametrize("value", ["x", math.nan, [{}]], ids=repr)
def test_a_refusal_names_the_value_and_its_file(read, value):
    with pytest.raises(ConfigError, match=r"^other\.json: it(\[0\])?=.*, but it must be "):
        read({"it": value})


@pytest.mark.parametrize(
    "size", [0, -1, 4097, 2**70, True, 1.5, "ab", [1, 2, 3], [], {}, [True, 2]]
)
def test_what_is_no_size_is_refused(size):
    with pytest.raises(ConfigError, match="^patch_size="):
        pair(size, "patch_size")


def test_a_shape_has_its_dimensions_and_none_of_them_is_empty():
    tensors = {"whole": torch.zeros(2, 3), "none": torch.tensor(1.0), "empty": torch.zeros(0, 3)}
    assert shape_of(tensors, "whole", 2) == (2, 3)
    for name in ("none", "empty"):
        with pytest.raises(ConfigError, match=f"the tensor {name} has the shape .* 2 dimensions"):
            shape_of(tensors, name, 2)
    with pytest.raises(KeyError):
        shape_of(tensors, "missing", 2)
