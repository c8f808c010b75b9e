"""Randomization on several photos: the mean over the photos' cascades."""

from dataclasses import replace
from statistics import fmean

import pytest

from vit_demo import load
from vit_demo.errors import MethodError, PhotoError
from vit_demo.explanations import METHODS, run_with_trace
from vit_demo.faithfulness import parts_of, randomize_cascade
from vit_demo.faithfulness.randomization_test import randomization_test
from vit_demo.photo import read_photo


def no_map(traced, target):
    """A method that never gives a map."""
    raise MethodError("This map would be empty.")


def test_it_is_the_mean_of_the_photos_cascades(our_checkpoint, tmp_path, noise_photo):
    checkpoint = load(str(our_checkpoint))
    photos = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(photos):
        noise_photo(50, 60, seed=number).save(path)
    calls = []
    methods = [METHODS["rollout"], METHODS["legrad"], replace(METHODS["relevance"], run=no_map)]
    found = randomization_test(
        checkpoint, photos[:2], methods, lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 2), (2, 2)]
    assert list(found) == ["rollout", "legrad", "relevance"]
    assert {(step.similarity, step.photos) for step in found["relevance"]} == {(None, 0)}
    lines = []
    for seed, photo in enumerate(photos[:2]):
        pixels = checkpoint.preprocessing(read_photo(photo)).pixels
        target = int(run_with_trace(checkpoint.model, pixels).logits.argmax())
        lines.append(
            randomize_cascade(METHODS["legrad"], checkpoint.model, pixels, target, {}, seed=seed)
        )
    assert [step.part for step in found["legrad"]] == parts_of(checkpoint.model)
    for place, step in enumerate(found["legrad"]):
        known = [line[place].value for line in lines if line[place].value is not None]
        assert step.photos == len(known)
        assert step.similarity == (pytest.approx(fmean(known)) if known else None)


def test_a_photo_that_cannot_be_read_is_refused(our_checkpoint, tmp_path):
    with pytest.raises(PhotoError, match="no.png"):
        randomization_test(load(str(our_checkpoint)), [tmp_path / "no.png"], [METHODS["rollout"]])
