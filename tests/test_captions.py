"""Captions describe the map, its source and its limits."""

import pytest
import torch

from vit_demo import captions, explain, load
from vit_demo.faithfulness import FaithfulnessScores, ScoresVsRandom
from vit_demo.faithfulness.curves import Curve


@pytest.fixture
def checkpoint(our_checkpoint):
    return load(str(our_checkpoint))


def test_the_caption_names_the_method_its_source_and_its_limits(checkpoint, photo_file):
    caption = captions.picture(explain(checkpoint, photo_file)).caption
    assert "Abnar & Zuidema 2020" in caption
    assert "The same for every class" in caption
    assert "99th percentile; 1 patch is beyond it" in caption
    assert "Approximate" not in caption


def test_the_caption_says_if_the_input_is_only_a_part_of_the_photo(checkpoint, photo_file):
    from dataclasses import replace

    whole = explain(checkpoint, photo_file)
    assert "darkened border" not in captions.picture(whole).caption
    part = replace(whole, grid_box=(10.0, 0.0, 90.0, 67.0))
    note = "The darkened border is not part of the model's input."
    assert note in captions.picture(part).caption
    assert captions.input_description(part).startswith("The center of the photo, resized")


def test_padded_patches_are_counted_and_drawn_beyond_the_input(noise_photo):
    """A Swin pads 30 × 42 pixels to 8 × 11 patches of 4; the input covers 7½ × 10½ of them."""
    from vit_demo.checkpoints import Checkpoint
    from vit_demo.models.swin import Swin, SwinConfig
    from vit_demo.preprocess import Preprocessing

    config = SwinConfig(3, width=8, depths=(1,), heads=(2,), windows=((4, 4),), image_size=(30, 42))
    model = Swin(config).eval()
    squeeze = Preprocessing(resize=(40, 42), crop=(30, 42))
    swin = Checkpoint("tiny", None, "Swin", "ours", model, ("a", "b", "c"), squeeze)
    analysis = explain(swin, noise_photo(84, 80))
    assert analysis.grid_box == pytest.approx((0, 10, 88, 74))
    assert analysis.input_box == pytest.approx((0, 10, 84, 70))
    assert "8 × 11 patches of 4 × 4" in captions.input_description(analysis)
    assert captions.patches(analysis).size == (11 * 19 - 3, 8 * 19 - 3)
    drawn = captions.picture(analysis)
    assert "darkened border" in drawn.caption
    below = drawn.image.crop((0, 72 * 1024 // 84, 1024, 80 * 1024 // 84)).convert("L")
    assert below.getextrema()[1] < 80


def test_the_unit_gives_the_value_of_a_uniform_map(checkpoint, photo_file):
    assert captions.unit(explain(checkpoint, photo_file)) == "share per patch (uniform: 6.25%)"


def test_the_input_description_gives_size_and_patches(checkpoint, photo_file):
    sentence = captions.input_description(explain(checkpoint, photo_file))
    assert sentence.startswith("The whole photo, resized to 32 × 32 pixels")
    assert "4 × 4 patches of 8 × 8" in sentence


def test_the_patches_are_cut_from_the_models_input(checkpoint, photo_file):
    analysis = explain(checkpoint, photo_file)
    assert captions.patches(analysis).size == (4 * 35 - 3, 4 * 35 - 3)


def test_the_title_names_options_and_class(checkpoint, photo_file):
    plain = explain(checkpoint, photo_file)
    assert captions.title(plain) == "rollout"
    layer = explain(checkpoint, photo_file, "attention", options={"layer": 2})
    assert captions.title(layer) == "attention (layer 2)"


def test_a_class_specific_map_names_its_classes(checkpoint, photo_file):
    alone = explain(checkpoint, photo_file, "legrad", "roses")
    assert captions.title(alone) == "legrad for roses"
    drawn = captions.picture(alone)
    assert "The same for every class" not in drawn.caption
    assert not drawn.scale.signed
    assert "(uniform: 6.25%)" in drawn.unit

    against = explain(checkpoint, photo_file, "legrad", "roses", {"layers": 3}, versus="tulips")
    assert captions.title(against) == "legrad for roses compared with tulips (layers 3)"
    drawn = captions.picture(against)
    assert (
        "The map for roses minus the map for tulips: positive values favor roses." in drawn.caption
    )
    assert drawn.scale.signed
    assert drawn.unit == "share per patch, roses minus tulips"


def test_occlusion_is_measured_in_probability(checkpoint, photo_file):
    alone = explain(checkpoint, photo_file, "occlusion", "roses", {"block": 1})
    assert captions.title(alone) == "occlusion for roses (block 1)"
    assert captions.unit(alone) == "decrease in probability when the block is masked"
    assert captions.picture(alone).scale.signed
    against = explain(checkpoint, photo_file, "occlusion", "roses", versus="tulips")
    assert captions.unit(against).endswith("when the block is masked, roses minus tulips")


def test_the_known_classes_fit_on_one_line():
    assert captions.known_classes(("a", "b")) == "knows 2 classes: a, b"
    many = captions.known_classes(tuple(str(number) for number in range(1000)))
    assert many.startswith("knows 1000 classes: 0, 1,")
    assert many.endswith("11, …")


def test_an_unsure_prediction_has_a_note_with_the_known_classes(checkpoint, photo_file):
    from dataclasses import replace

    from vit_demo.checkpoints.calibration import Calibration

    sure = explain(checkpoint, photo_file)
    assert captions.unsure_note(sure) == ""
    assert not captions.sheet(sure).title.startswith("unsure")
    careful = replace(checkpoint, calibration=Calibration(50.0, 0.62))
    unsure = explain(careful, photo_file)
    best = unsure.predictions[0].probability
    assert best < 0.3
    assert captions.unsure_note(unsure) == (
        f"Unsure: the most likely class has only {best:.0%}, and below 62% this checkpoint's "
        "predictions are unreliable; it knows 5 classes: daisy, dandelion, roses, sunflowers, "
        "tulips."
    )
    assert captions.sheet(unsure).title.startswith(f"unsure: {unsure.predictions[0].label}")
    assert captions.sheet(unsure).caption.startswith(captions.unsure_note(unsure))


def test_the_verdict_counts_where_the_map_beats_noise(checkpoint, photo_file):
    def scores(deletion, insertion, saco):
        ends = torch.tensor([0.0, 1.0])
        flat = (Curve(ends, torch.full((2,), area)) for area in (deletion, insertion))
        return FaithfulnessScores(*flat, saco)

    noise = scores(0.5, 0.5, 0.0)
    better = ScoresVsRandom(scores(0.25, 0.75, 0.5), noise, drops=True)
    assert captions.verdict(better).endswith("better than noise in all of the 3 tests.")
    assert [figure.words for figure in captions.evidence(better)] == [
        "Deletion 0.25, noise 0.50 (lower is better)",
        "Insertion 0.75, noise 0.50 (higher is better)",
        "SaCo 0.50, noise 0.00 (higher is better)",
    ]
    analysis = explain(checkpoint, photo_file, "relevance", "roses", versus="tulips")
    words = captions.protocol(better, analysis)
    assert "We track the probability of roses as against tulips" in words
    assert "in 1 steps, the most important first: they are dropped (deletion)" in words
    mixed = ScoresVsRandom(scores(0.75, 0.75, -0.1), noise, drops=False)
    assert "in 1 of the 3" in captions.verdict(mixed)
    assert [figure.better for figure in captions.evidence(mixed)] == [False, True, False]
    assert captions.evidence(mixed)[2].mine == "\u22120.10"
    assert "mean color" in captions.protocol(mixed, explain(checkpoint, photo_file))
    assert "in none of the 3" in captions.verdict(
        ScoresVsRandom(scores(0.6, 0.4, -0.1), noise, drops=False)
    )


def test_each_method_has_its_own_caption(checkpoint, photo_file):
    """Random noise does not show where the model looks, on the page or on a slide."""
    noise = explain(checkpoint, photo_file, "random")
    assert "where the model looks" not in captions.sheet(noise).title
    assert "a random map, for comparison: random" in captions.sheet(noise).title
    assert "depends on neither the photo nor the model" in captions.picture(noise).caption
    rollout = explain(checkpoint, photo_file)
    assert "where the model looks: rollout" in captions.sheet(rollout).title
    assert "CLS attention rollout" in captions.picture(rollout).caption
    assert "not why" in captions.picture(rollout).caption
    relevance = explain(checkpoint, photo_file, "relevance")
    assert "not why" not in captions.picture(relevance).caption


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((9, 7), "only 9 × 7 pixels; the model reads 32 × 32, so"),
        ((1, 1), "only 1 × 1 pixel; the model"),
        ((200, 7), "only 200 × 7 pixels"),
        ((8, 8), ""),
        ((101, 67), ""),
    ],
)
def test_a_photo_far_smaller_than_the_models_input_is_called_small(
    checkpoint, noise_photo, size, words
):
    analysis = explain(checkpoint, noise_photo(*size))
    small = captions.small_photo(analysis)
    assert bool(small) == bool(words)
    assert words in small
    assert captions.picture(analysis).caption.startswith(small)
    assert small in captions.sheet(analysis).caption


def test_a_photo_that_is_not_enlarged_is_not_called_small(checkpoint, noise_photo):
    """Here the input is a crop of the unscaled photo, padded with black."""
    from dataclasses import replace

    from vit_demo.preprocess import Preprocessing

    cut = replace(checkpoint, preprocessing=Preprocessing(resize=None, crop=(32, 32)))
    assert captions.small_photo(explain(cut, noise_photo(6, 6))) == ""


def test_the_account_of_evidence_is_written_in_one_line(checkpoint, photo_file):
    """Its values are in units of the logit, not in percent."""
    whole = explain(checkpoint, photo_file, "evidence", "roses")
    words = captions.account(whole)
    assert words.startswith("The logit of roses minus the mean of all classes is ")
    for part in ("patches", "class token", "MLPs", "embedding", "biases"):
        assert part in words
    drawn = captions.picture(whole)
    assert drawn.unit == "evidence, in units of the logit"
    assert drawn.number(-0.0512) == "\u22120.0512"
    assert not captions.sheet(whole).percent
    against = explain(checkpoint, photo_file, "evidence", "roses", versus="tulips")
    assert captions.account(against).startswith("The logit of roses minus that of tulips is ")
    other = explain(checkpoint, photo_file, "relevance", "roses")
    assert captions.account(other) == ""
    assert captions.picture(other).number(0.0512) == "5.12%"
