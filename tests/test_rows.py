"""Packed layers of the latest results, within a bound on their bytes."""

from vit_demo.ui.explorer.rows import Rows


def test_the_longest_unused_goes_first_and_the_newest_stays():
    rows = Rows(10)
    rows.add("one", ("aaaa",))
    rows.add("two", ("bb", "bb"))
    assert rows.get("one") == ("aaaa",)
    rows.add("three", ("cccc",))
    assert [rows.get(token) is None for token in ("one", "two", "three")] == [False, True, False]
    assert rows.bytes == 8
    rows.add("four", ("d" * 50,))
    assert rows.bytes == 50
    assert rows.get("four") == ("d" * 50,)


def test_what_is_added_again_or_dropped_is_counted_once():
    rows = Rows(100)
    rows.add("one", ("a" * 10,))
    rows.add("one", ("a" * 20,))
    assert rows.bytes == 20
    rows.drop("one")
    rows.drop("one")
    rows.drop(None)
    assert rows.bytes == 0
    assert rows.get("one") is None
