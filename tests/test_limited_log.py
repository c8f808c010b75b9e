"""A log grows by so much a minute, whatever visitors do."""

import contextlib
import io
import sys
import traceback

from vit_demo.ui.limited_log import LimitedLog


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_what_is_too_much_is_left_out_and_counted():
    stream, clock = io.StringIO(), Clock()
    log = LimitedLog(stream, characters=10, seconds=60, clock=clock)
    assert log.write("12345678") == 8
    assert log.write("12345678") == 8
    assert log.write("more\n") == 5
    assert stream.getvalue() == "1234567812"
    clock.now = 60
    log.write("after\n")
    assert stream.getvalue() == "1234567812(11 characters of log messages were left out)\nafter\n"


def test_what_fits_is_passed_on_as_it_is():
    stream, clock = io.StringIO(), Clock()
    log = LimitedLog(stream, characters=10, seconds=60, clock=clock)
    for _ in range(5):
        log.write("12345678\n")
        clock.now += 60
    assert stream.getvalue() == 5 * "12345678\n"


def test_a_thousand_tracebacks_stay_within_the_bound():
    stream = io.StringIO()
    with contextlib.redirect_stderr(LimitedLog(stream, characters=5000, clock=Clock())):
        for _ in range(1000):
            try:
                raise KeyError("a bug")
            except KeyError:
                traceback.print_exc()
        assert not sys.stderr.isatty()
        sys.stderr.flush()
    assert "KeyError: 'a bug'" in stream.getvalue()
    assert len(stream.getvalue()) == 5000
