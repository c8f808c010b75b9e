"""The words beside a map say what the map is."""

import pytest
import torch

from vit_demo import explain, load, present
from vit_demo.faithfulness import Marks, Trust
from vit_demo.faithfulness.curves import Curve


@pytest.fixture
def checkpoint(our_checkpoint):
    return load(str(our_checkpoint))


def test_the_caption_names_the_method_its_source_and_its_limits(checkpoint, photo_file):
    caption = present.picture(explain(checkpoint, photo_file)).caption
    assert "Abnar & Zuidema 2020" in caption
    assert "The same for every class" in caption
    assert "99th percentile; 1 patch lies beyond" in caption
    assert "Approximate" not in caption


def test_the_caption_says_when_the_model_saw_only_a_part(checkpoint, photo_file):
    from dataclasses import replace

    whole = explain(checkpoint, photo_file)
    assert "never saw" not in present.picture(whole).caption
    part = replace(whole, box=(10.0, 0.0, 90.0, 67.0))
    assert "never saw what is dark at the edge" in present.picture(part).caption
    assert present.reading(part).startswith("The middle of the photo")


def test_padded_patches_are_told_and_drawn_as_they_are(noise_photo):
    """A Swin pads 30 × 42 pixels to 8 × 11 patches of 4, of which it sees 7½ × 10½."""
    from vit_demo.checkpoints import Checkpoint
    from vit_demo.models.swin import Swin, SwinConfig
    from vit_demo.preprocess import Preprocessing

    config = SwinConfig(3, width=8, depths=(1,), heads=(2,), windows=((4, 4),), image_size=(30, 42))
    model = Swin(config).eval()
    squeeze = Preprocessing(resize=(40, 42), crop=(30, 42))
    swin = Checkpoint("tiny", None, "Swin", "ours", model, ("a", "b", "c"), squeeze)
    analysis = explain(swin, noise_photo(84, 80))
    assert analysis.box == pytest.approx((0, 10, 88, 74))
    assert analysis.seen == pytest.approx((0, 10, 84, 70))
    assert "8 × 11 patches of 4 × 4" in present.reading(analysis)
    assert present.patches(analysis).size == (11 * 19 - 3, 8 * 19 - 3)
    drawn = present.picture(analysis)
    assert "never saw what is dark" in drawn.caption
    below = drawn.image.crop((0, 72 * 1024 // 84, 1024, 80 * 1024 // 84)).convert("L")
    assert below.getextrema()[1] < 80


def test_the_unit_says_what_an_even_map_would_be(checkpoint, photo_file):
    assert "all 16 patches alike would have 6.25%" in present.unit(explain(checkpoint, photo_file))


def test_the_reading_says_what_the_model_was_given(checkpoint, photo_file):
    words = present.reading(explain(checkpoint, photo_file))
    assert words.startswith("The whole photo, brought to 32 × 32 pixels")
    assert "4 × 4 patches of 8 × 8" in words


def test_the_patches_are_cut_from_the_models_picture(checkpoint, photo_file):
    analysis = explain(checkpoint, photo_file)
    assert present.patches(analysis).size == (4 * 35 - 3, 4 * 35 - 3)


def test_the_title_names_options_and_class(checkpoint, photo_file):
    plain = explain(checkpoint, photo_file)
    assert present.title(plain) == "rollout"
    layer = explain(checkpoint, photo_file, "attention", options={"layer": 2})
    assert present.title(layer) == "attention (layer 2)"


def test_what_is_about_a_class_says_which(checkpoint, photo_file):
    alone = explain(checkpoint, photo_file, "legrad", "roses")
    assert present.title(alone) == "legrad for roses"
    drawn = present.picture(alone)
    assert "The same for every class" not in drawn.caption
    assert not drawn.scale.signed
    assert "all 16 patches alike" in drawn.unit

    against = explain(checkpoint, photo_file, "legrad", "roses", {"layers": 3}, versus="tulips")
    assert present.title(against) == "legrad for roses and against tulips (layers 3)"
    drawn = present.picture(against)
    assert "The map for roses less that for tulips: above zero it favours roses." in drawn.caption
    assert drawn.scale.signed
    assert drawn.unit == "share per patch for the one class, less that for the other"


def test_occlusion_is_measured_in_probability(checkpoint, photo_file):
    alone = explain(checkpoint, photo_file, "occlusion", "roses", {"block": 1})
    assert present.title(alone) == "occlusion for roses (block 1)"
    assert present.unit(alone) == "fall in probability when it is hidden"
    assert present.picture(alone).scale.signed
    against = explain(checkpoint, photo_file, "occlusion", "roses", versus="tulips")
    assert present.unit(against).endswith("of the one class less the other")


def test_what_a_checkpoint_knows_fits_on_one_line():
    assert present.knows(("a", "b")) == "knows 2 classes: a, b"
    many = present.knows(tuple(str(number) for number in range(1000)))
    assert many.startswith("knows 1000 classes: 0, 1,")
    assert many.endswith("11, …")


def test_a_doubtful_answer_says_so_and_what_could_have_been_named(checkpoint, photo_file):
    from dataclasses import replace

    from vit_demo.checkpoints.calibration import Calibration

    sure = explain(checkpoint, photo_file)
    assert present.doubt(sure) == ""
    assert not present.sheet(sure).title.startswith("unsure")
    careful = replace(checkpoint, calibration=Calibration(50.0, 0.62))
    unsure = explain(careful, photo_file)
    best = unsure.predictions[0].probability
    assert best < 0.3
    assert present.doubt(unsure) == (
        f"Unsure: the likeliest name has only {best:.0%}, and below 62% this checkpoint's answers "
        "are doubtful; it knows 5 classes: daisy, dandelion, roses, sunflowers, tulips."
    )
    assert present.sheet(unsure).title.startswith(f"unsure: {unsure.predictions[0].label}")
    assert present.sheet(unsure).caption.startswith(present.doubt(unsure))


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
    small = present.small_photo(analysis)
    assert bool(small) == bool(words)
    assert words in small
    assert present.picture(analysis).caption.startswith(small)
    assert small in present.sheet(analysis).caption


def test_a_small_photo_that_is_not_enlarged_is_no_small_photo(checkpoint, noise_photo):
    """Where the input is cut out of the photo as it is, what is missing is black instead."""
    from dataclasses import replace

    from vit_demo.preprocess import Preprocessing

    cut = replace(checkpoint, preprocessing=Preprocessing(resize=None, crop=(32, 32)))
    assert present.small_photo(explain(cut, noise_photo(6, 6))) == ""


def test_the_verdict_counts_where_the_map_beats_noise(checkpoint, photo_file):
    def marks(deletion, insertion, saco):
        ends = torch.tensor([0.0, 1.0])
        flat = (Curve(ends, torch.full((2,), area)) for area in (deletion, insertion))
        return Marks(*flat, saco)

    noise = marks(0.5, 0.5, 0.0)
    better = Trust(marks(0.25, 0.75, 0.5), noise, drops=True)
    assert present.verdict(better).endswith("better than noise in all of the 3 figures.")
    assert [figure.words for figure in present.evidence(better)] == [
        "Deletion 0.25, noise 0.50 (less is better)",
        "Insertion 0.75, noise 0.50 (more is better)",
        "SaCo 0.50, noise 0.00 (more is better)",
    ]
    analysis = explain(checkpoint, photo_file, "relevance", "roses", versus="tulips")
    words = present.protocol(better, analysis)
    assert "Followed is the probability of roses as against tulips" in words
    assert "in 1 steps: left out" in words
    mixed = Trust(marks(0.75, 0.75, -0.1), noise, drops=False)
    assert "in 1 of the 3" in present.verdict(mixed)
    assert [figure.better for figure in present.evidence(mixed)] == [False, True, False]
    assert present.evidence(mixed)[2].mine == "\u22120.10"
    assert "mean colour" in present.protocol(mixed, explain(checkpoint, photo_file))
    assert "in none of the 3" in present.verdict(Trust(marks(0.6, 0.4, -0.1), noise, drops=False))
