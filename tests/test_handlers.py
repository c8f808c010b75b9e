"""The page's events, called as the page calls them."""

import gc
import warnings
import weakref
from dataclasses import replace

import gradio as gr
import pytest
from PIL import Image

from vit_demo import explain, look, present
from vit_demo.checkpoints import CheckpointCache, load
from vit_demo.errors import MethodError
from vit_demo.explanations import METHODS
from vit_demo.ui import handlers, trust
from vit_demo.ui.handlers import FIRST_MAP, Handlers
from vit_demo.ui.legend import about, legend
from vit_demo.ui.photo_input import PhotoInput


@pytest.fixture
def events():
    return Handlers(CheckpointCache(load, 10**9).get)


@pytest.fixture
def shown(events, our_checkpoint, photo_file):
    return events.analyse(str(photo_file), str(our_checkpoint))


def test_one_run_gives_the_map_and_every_layer(shown):
    assert shown.main.method == FIRST_MAP
    assert [analysis.options["layer"] for analysis in shown.layers] == [1, 2, 3]
    assert len({tuple(a.heatmap.flatten().tolist()) for a in shown.layers}) == 3


def test_where_the_first_map_does_not_fit_or_is_empty_the_usual_one_is_shown(
    our_checkpoint, photo_file, monkeypatch
):
    seen = look(load(str(our_checkpoint)), photo_file)
    fitting = METHODS[FIRST_MAP]

    def nothing(watched, target, **options):
        raise MethodError("This map would be empty.")

    for misfit in (replace(fitting, run=nothing), replace(fitting, why_not=lambda _: "too small")):
        monkeypatch.setitem(METHODS, FIRST_MAP, misfit)
        assert handlers.first_map(seen).method == "rollout"


def test_what_a_visitor_looks_at_keeps_no_weights_in_memory(our_checkpoint, photo_file):
    cache = CheckpointCache(lambda ref, progress: load(ref), 1)
    shown = Handlers(cache.get).analyse(str(photo_file), str(our_checkpoint))
    weights = weakref.ref(cache.get(str(our_checkpoint)).model)
    cache.get("flowers")
    gc.collect()
    assert weights() is None
    assert shown.main.checkpoint.bytes == load(str(our_checkpoint)).bytes
    assert {p.device.type for p in shown.main.checkpoint.model.parameters()} == {"meta"}
    assert "4 × 4 patches of 8" in handlers.reading(shown)


def test_the_names_are_the_likeliest_five(shown):
    names = handlers.likeliest(shown)
    assert list(names) == [p.label for p in shown.main.predictions]
    assert sum(names.values()) == pytest.approx(1)


def test_labels_that_occur_twice_stay_apart(shown):
    from dataclasses import replace

    twice = [replace(p, label="rose") for p in shown.main.predictions]
    names = handlers.likeliest(replace(shown, main=replace(shown.main, predictions=tuple(twice))))
    assert len(names) == 5


@pytest.mark.parametrize(
    ("photo", "ref", "words"),
    [
        (None, "flowers", "no photo yet"),
        ("", "flowers", "no photo yet"),
        ("PHOTO", None, "is no bundled checkpoint"),
        ("PHOTO", "<img src=x onerror=alert(1)>", "&lt;img src=x"),
        ("missing.jpg", "CHECKPOINT", "There is no photo at"),
    ],
)
def test_what_a_person_can_mend_is_a_toast(events, our_checkpoint, photo_file, photo, ref, words):
    given = {"PHOTO": str(photo_file), "CHECKPOINT": str(our_checkpoint)}
    with pytest.raises(gr.Error) as toast:
        events.analyse(given.get(photo, photo), given.get(ref, ref))
    assert words in toast.value.message
    assert "<img" not in toast.value.message
    assert toast.value.print_exception is False


@pytest.mark.parametrize(("given", "layer"), [(1, 1), (3, 3), (0, 1), (99, 3), (2.7, 2)])
def test_a_layer_out_of_range_is_brought_back(shown, given, layer):
    image, words = handlers.layer_map(shown, given)
    expected, _ = handlers.layer_map(shown, layer)
    assert image.tobytes() == expected.tobytes()
    assert "%" in words


def test_before_the_first_run_the_slider_does_nothing():
    assert handlers.layer_map(None, 3) == (gr.skip(), gr.skip())


def test_the_download_is_a_slide(shown, tmp_path):
    path = handlers.download(shown, str(tmp_path))
    with Image.open(path) as slide:
        assert slide.size == (1920, 1080)
    assert path.startswith(str(tmp_path))


def test_only_photos_that_browsers_cannot_show_are_turned_into_pictures(
    events, tmp_path, noise_photo
):
    assert events.preview(None) == gr.skip()
    assert events.preview("photo.JPG") == gr.skip()
    noise_photo(60, 40).save(tmp_path / "photo.tiff")
    assert events.preview(str(tmp_path / "photo.tiff")).size == (60, 40)


def test_names_from_files_are_escaped():
    assert "<b>&lt;i&gt;" in about("<i>", "<script>")
    assert "<script>" not in about("<i>", "<script>")
    assert "<i>" not in about("a", "b", "<i>")


def test_an_unsure_answer_is_said_to_be_unsure(events, our_checkpoint, photo_file):
    from vit_demo.checkpoints.calibration import Calibration, store_calibration

    store_calibration(our_checkpoint, Calibration(50.0, 0.9))
    unsure = events.analyse(str(photo_file), str(our_checkpoint))
    assert "Unsure: the likeliest name has only" in handlers.knowledge(unsure)


def test_a_sure_answer_says_nothing_of_doubt(shown):
    assert "nsure" not in handlers.knowledge(shown)


def test_the_legend_has_its_numbers(shown):
    words = legend(present.picture(shown.main))
    assert "linear-gradient" in words
    assert words.count("<span>") == 5
    assert "≥" in words
    assert "≤" not in words


def test_a_signed_legend_is_open_at_both_ends(events, shown):
    words = legend(present.picture(events.ask(shown, "relevance", "0", "2").main))
    ticks = words.split('class="ticks">')[1].split("</div>")[0]
    assert ticks.startswith("<span>≤ \u2212")
    assert "<span>≥ " in ticks


def test_the_upload_hands_over_the_file_untouched(tmp_path):
    from gradio.data_classes import ImageData

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        component = PhotoInput(type="filepath")
    text = tmp_path / "words.jpg"
    text.write_text("no picture")
    assert component.preprocess(ImageData(path=str(text))) == str(text)
    assert component.preprocess(None) is None


def test_another_map_is_the_one_that_python_gives(events, shown, our_checkpoint, photo_file):
    """For one class, and for one against another; names, layers and photo stay as they were."""
    first, second = shown.main.predictions[:2]
    for versus in ("", str(second.index)):
        asked = events.ask(shown, "relevance", str(first.index), versus)
        expected = explain(
            load(str(our_checkpoint)), photo_file, "relevance", first.index,
            versus=second.index if versus else None,
        )  # fmt: skip
        assert asked.main.as_json() == expected.as_json()
        assert asked.layers is shown.layers
        assert {p.device.type for p in asked.main.checkpoint.model.parameters()} == {"meta"}


def test_classes_count_only_where_the_map_depends_on_them(events, shown):
    asked, plain = (events.ask(shown, "rollout", *classes) for classes in (("3", "1"), ("", "")))
    assert asked.main.as_json() == plain.main.as_json()
    assert asked.main.target is None


def test_a_class_that_is_called_by_anothers_number_is_not_mistaken(shown):
    """Folders 1, 10, 2: class 1 is called "10", and class 2 "2"."""
    labels = ("1", "10", "2", "3", "4")
    named = replace(load(shown.main.checkpoint.ref), labels=labels)
    own = Handlers(lambda *_: named)
    asked = own.ask(shown, "relevance", "2", "1")
    assert (asked.main.target.index, asked.main.versus.index) == (2, 1)
    assert (asked.main.target.label, asked.main.versus.label) == ("2", "10")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("rolout", "", ""), "did you mean"),
        (("relevance", "99", ""), "no class 99"),
        (("relevance", "1", "1"), "against itself"),
        (("relevance", "<img>", ""), "knows no &#x27;&lt;img&gt;&#x27;"),
    ],
)
def test_what_cannot_be_asked_is_a_toast(events, shown, asked, words):
    with pytest.raises(gr.Error, match=words):
        events.ask(shown, *asked)


def test_nothing_can_be_asked_before_a_run(events):
    with pytest.raises(gr.Error, match="press Run first"):
        events.ask(None, "relevance", "", "")


def test_a_smooth_map_says_so_and_only_its_picture_changes(shown):
    plain, words = handlers.main_map(shown)
    smooth, more = handlers.redrawn(shown, True)
    assert plain.size == smooth.size
    assert plain.tobytes() != smooth.tobytes()
    assert "Smoothed for show" in more
    assert "Smoothed for show" not in words
    assert handlers.redrawn(shown, False)[0].tobytes() == plain.tobytes()
    assert handlers.redrawn(None, True) == (gr.skip(), gr.skip())


def test_a_map_is_judged_as_in_python_and_drawn_beside_noise(events, shown, our_checkpoint):
    asked = events.ask(shown, "legrad", "2", "")
    judged = events.judge(asked)
    assert judged.analysis is asked.main
    seen = look(load(str(our_checkpoint)), shown.main.photo)
    assert judged.trust.as_json() == seen.trust(seen.explain("legrad", 2)).as_json()
    drawn = trust.answer(judged, asked)
    assert drawn.count("<svg") == 3
    assert present.verdict(judged.trust) in drawn
    assert trust.answer(judged, shown) == gr.skip()


def test_there_must_be_a_map_to_judge(events):
    with pytest.raises(gr.Error, match="press Run first"):
        events.judge(None)
