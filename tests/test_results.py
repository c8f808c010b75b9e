"""Every visitor's last result, within a bound on all bytes."""

import pytest

from vit_demo.errors import PhotoError
from vit_demo.ui.results import Results, SupersededError


@pytest.fixture
def shown(make_handlers, uploaded, our_checkpoint, photo_file):
    events = make_handlers()
    return events.analyse(uploaded(events, photo_file), str(our_checkpoint), "visitor")[1]


@pytest.fixture
def results(shown):
    """Room for two results and a half."""
    return Results(shown.bytes * 5 // 2)


def test_its_size_is_that_of_its_pictures_and_maps(shown):
    """A photo of 101 × 67, an input of 32 × 32, one map of 4 × 4, five classes."""
    pixels = 101 * 67 * 3 + 32 * 32 * 3 + 32 * 32 * 3 * 4
    assert shown.bytes == pixels + 16 * 4 + 5 * 200


def test_the_longest_unused_goes_first(results, shown):
    first, second = results.add(shown), results.add(shown)
    assert results.bytes == 2 * shown.bytes
    results.get(first)
    third = results.add(shown)
    assert [results.has(token) for token in (first, second, third)] == [True, False, True]
    with pytest.raises(PhotoError, match="press Run again"):
        results.get(second)
    assert results.bytes == 2 * shown.bytes


def test_the_newest_stays_even_if_it_alone_is_too_large(shown):
    results = Results(1)
    results.add(shown)
    token = results.add(shown)
    assert results.get(token) is shown
    assert len(results) == 1


def test_a_new_result_takes_the_place_of_the_visitors_old_one(results, shown):
    old = results.add(shown)
    new = results.add(shown, replaces=old)
    assert (results.has(old), results.has(new)) == (False, True)
    assert results.bytes == shown.bytes


def test_tokens_cannot_be_guessed(results, shown):
    tokens = {results.add(shown) for _ in range(50)}
    assert len(tokens) == 50
    assert {len(token) for token in tokens} == {32}


def test_only_the_newest_question_is_answered(results, shown):
    token = results.add(shown)
    older, newer = results.begin_question(token), results.begin_question(token)
    with pytest.raises(SupersededError):
        results.answer(token, older, shown)
    results.answer(token, newer, shown)
    results.drop(token)
    with pytest.raises(SupersededError):
        results.answer(token, newer, shown)
    assert results.bytes == 0


def test_without_a_result_it_says_what_to_do(results):
    assert not results.has(None)
    with pytest.raises(PhotoError, match="press Run first"):
        results.get(None)
    results.drop(None)
    results.drop("unknown")
