"""Values of the wrong type, infinite values and values outside their range are refused by name."""

import math

import pytest

from vit_demo.checks import (
    check_flag,
    check_number,
    check_share,
    check_whole,
    check_wholes,
    is_finite,
    is_whole,
)
from vit_demo.errors import ConfigError

NOT_INTEGERS = (1.5, 2.0, math.nan, math.inf, True, "3", None, [3], {})
NOT_FINITE = (math.nan, -math.inf, 10**400, True, "3", None, [3])


@pytest.mark.parametrize("value", NOT_INTEGERS, ids=repr)
def test_only_integers_are_whole_numbers(value):
    assert not is_whole(value)
    with pytest.raises(ConfigError, match=r"size=.*, but it must be a whole number\."):
        check_whole("size", value)


@pytest.mark.parametrize("value", NOT_FINITE, ids=lambda value: repr(value)[:9])
def test_only_finite_floats_are_numbers(value):
    assert not is_finite(value)
    for check in (check_number, check_share):
        with pytest.raises(ConfigError, match="eps="):
            check("eps", value)


def test_ranges_include_their_ends():
    check_whole("size", 1)
    check_whole("size", 7, least=7, most=7)
    check_number("scale", 0, least=0.0, most=0.5)
    check_share("rate", 0)
    for value in (0, 2**70, -(10**400)):
        with pytest.raises(ConfigError, match="size=.*, but it must lie between 1 and 1000000"):
            check_whole("size", value)
    for value in (1e-320, 1e30, -1):
        with pytest.raises(ConfigError, match="scale=.*, but it must lie between 1e-06 and 1e"):
            check_number("scale", value)
    with pytest.raises(ConfigError, match=r"rate=1, but it must lie in \[0, 1\)"):
        check_share("rate", 1)


def test_a_message_names_the_position_and_stays_short():
    with pytest.raises(ConfigError, match=r"depths\[1\]='x', but it must be a whole number"):
        check_wholes("depths", (2, "x"))
    with pytest.raises(ConfigError, match="depths=.*, but it must be 2 whole numbers"):
        check_wholes("depths", (2,), count=2)
    with pytest.raises(ConfigError) as refused:
        check_whole("size", 10**4000)
    assert len(str(refused.value)) < 150


@pytest.mark.parametrize("value", [0, 1, None, "true", []], ids=repr)
def test_only_true_and_false_are_flags(value):
    check_flag("bias", True)
    with pytest.raises(ConfigError, match="bias=.*, but it must be true or false"):
        check_flag("bias", value)
