"""The page's events, called as the page calls them."""

import gc
import threading
import weakref
from dataclasses import replace

import gradio as gr
import pytest
from PIL import Image

from vit_demo import captions, explain, prepare
from vit_demo.checkpoints import CheckpointCache, load
from vit_demo.errors import DemoError, PhotoError
from vit_demo.explanations import DEFAULT_METHOD, masking
from vit_demo.ui import faithfulness_panel, handlers
from vit_demo.ui.handlers import Question
from vit_demo.ui.legend import about, legend
from vit_demo.ui.results import SupersededError

VISITOR = "visitor"


@pytest.fixture
def events(make_handlers):
    return make_handlers()


@pytest.fixture
def reference(events, uploaded, photo_file):
    return uploaded(events, photo_file)


@pytest.fixture
def answered(events, reference, our_checkpoint):
    """The token of a result, and the result."""
    return events.analyse(reference, str(our_checkpoint), VISITOR)


@pytest.fixture
def token(answered):
    return answered[0]


@pytest.fixture
def shown(answered):
    return answered[1]


def ask(events, token, method="", target="", versus=""):
    return events.ask(token, Question.read(method, target, versus))


def test_one_run_gives_the_default_map_and_every_layer(shown):
    assert shown.main.method == DEFAULT_METHOD == "rollout"
    assert [analysis.options["layer"] for analysis in shown.layers] == [1, 2, 3]
    assert len({tuple(a.heatmap.flatten().tolist()) for a in shown.layers}) == 3


def test_what_a_visitor_looks_at_keeps_no_weights_in_memory(
    make_handlers, uploaded, our_checkpoint, photo_file
):
    cache = CheckpointCache(lambda ref, progress: load(ref), 1)
    events = make_handlers(cache.get)
    _, shown = events.analyse(uploaded(events, photo_file), str(our_checkpoint), VISITOR)
    weights = weakref.ref(cache.get(str(our_checkpoint)).model)
    cache.get("flowers")
    gc.collect()
    assert weights() is None
    assert shown.main.checkpoint == load(str(our_checkpoint)).info
    assert "4 × 4 patches of 8" in handlers.input_description(shown)


def test_a_result_is_as_large_as_what_is_drawn_whatever_the_photo(
    events, uploaded, our_checkpoint, noise_photo, tmp_path
):
    """A photo of 12 megapixels would keep 36 MB; the map is the one of the whole photo."""
    large = tmp_path / "large.jpg"
    noise_photo(4000, 3000).save(large, quality=80)
    _, shown = events.analyse(uploaded(events, large), str(our_checkpoint), VISITOR)
    assert max(shown.main.photo.size) == 1024
    assert shown.bytes < 4_000_000
    whole = explain(load(str(our_checkpoint)), large)
    assert shown.main.heatmap.tolist() == whole.heatmap.tolist()
    assert captions.picture(shown.main).image.tobytes() == captions.picture(whole).image.tobytes()
    box, scale = whole.grid_box, 4000 / 1024
    assert [scale * edge for edge in shown.main.grid_box] == pytest.approx(list(box), rel=1e-3)


def test_the_next_run_keeps_what_still_applies(events, token, reference, our_checkpoint):
    asked = Question("relevance", 2, 1)
    token, shown = events.analyse(reference, str(our_checkpoint), VISITOR, token, asked)
    assert (shown.main.method, shown.target, shown.versus) == ("relevance", 2, 1)
    assert (shown.main.target.index, shown.main.versus.index) == (2, 1)
    # Another checkpoint has other classes: the method stays, the classes do not.
    token, other = events.analyse(reference, "flowers", VISITOR, token, replace(asked, target=3))
    assert (other.main.method, other.target, other.versus) == ("relevance", 3, 1)
    named = replace(load(str(our_checkpoint)), labels=tuple("abcde"))
    events = replace(events, get=lambda *_: named)
    _, third = events.analyse(reference, "named", VISITOR, token, asked)
    assert (third.main.method, third.target, third.versus) == ("relevance", None, None)


def test_a_method_that_does_not_fit_gives_way_to_the_default(events, reference, our_checkpoint):
    for question in (Question("nonsense"), Question("relevance", 99), Question("relevance", 1, 1)):
        _, shown = events.analyse(reference, str(our_checkpoint), VISITOR, None, question)
        assert shown.main.method in ("rollout", "relevance")
        assert (shown.target, shown.versus) == (None, None)


def test_a_photo_is_read_while_another_visitors_model_runs(events, reference, our_checkpoint):
    """Only the model waits for its turn: decoding another's photo, or a file like it, does not."""
    reading = threading.Event()
    get = events.get

    def tell(ref, progress):
        reading.set()
        return get(ref, progress)

    events = replace(events, get=tell)
    results = []
    with events.model_lock:
        run = threading.Thread(
            target=lambda: results.append(events.analyse(reference, str(our_checkpoint), VISITOR))
        )
        run.start()
        assert reading.wait(30)
        assert events.preview(reference, VISITOR) == gr.skip()
        with pytest.raises(gr.Error, match="not on this page"):
            events.analyse("/etc/passwd", str(our_checkpoint), VISITOR)
        assert results == []
    run.join(60)
    assert len(results) == 1


def test_a_damaged_photo_is_refused_while_another_visitors_model_runs(
    events, uploaded, our_checkpoint, photo_file, tmp_path
):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(photo_file.read_bytes()[:2000])
    reference = uploaded(events, damaged)
    with events.model_lock, pytest.raises(gr.Error, match="damaged"):
        events.analyse(reference, str(our_checkpoint), VISITOR)


def test_the_names_are_the_likeliest_five(shown):
    names = handlers.top_predictions(shown)
    assert list(names) == [p.label for p in shown.main.predictions]
    assert sum(names.values()) == pytest.approx(1)


def test_labels_that_occur_twice_stay_apart(shown):
    from dataclasses import replace

    twice = [replace(p, label="rose") for p in shown.main.predictions]
    names = handlers.top_predictions(
        replace(shown, main=replace(shown.main, predictions=tuple(twice)))
    )
    assert len(names) == 5


@pytest.mark.parametrize(
    ("photo", "ref", "words"),
    [
        (None, "flowers", "no photo yet"),
        ("", "flowers", "no photo yet"),
        ("PHOTO", None, "is no bundled checkpoint"),
        ("PHOTO", "<img src=x onerror=alert(1)>", "&lt;img src=x"),
        ("missing.jpg", "CHECKPOINT", "not on this page any more"),
    ],
)
def test_what_a_person_can_mend_is_a_toast(events, reference, our_checkpoint, photo, ref, words):
    given = {"PHOTO": reference, "CHECKPOINT": str(our_checkpoint)}
    with pytest.raises(gr.Error) as toast:
        events.analyse(given.get(photo, photo), given.get(ref, ref), VISITOR)
    assert words in toast.value.message
    assert "<img" not in toast.value.message
    assert toast.value.print_exception is False


@pytest.mark.parametrize(
    ("given", "layer"),
    [(1, 1), (3, 3), (0, 1), (99, 3), (2.7, 2), (None, 3), ("1", 3), ([1], 3), (float("nan"), 3)],
)
def test_a_layer_out_of_range_is_brought_back(shown, given, layer):
    image, words = handlers.layer_map(shown, given)
    expected, _ = handlers.layer_map(shown, layer)
    assert image.tobytes() == expected.tobytes()
    assert "%" in words


def test_the_download_is_a_slide(shown, tmp_path):
    path = handlers.slide(shown, str(tmp_path))
    with Image.open(path) as slide:
        assert slide.size == (1920, 1080)
    assert path.startswith(str(tmp_path))


def test_only_photos_that_browsers_cannot_show_get_a_preview(
    events, uploaded, reference, tmp_path, noise_photo
):
    """The browser is shown a picture of it, and names the picture; the model reads the photo."""
    assert events.preview(reference, VISITOR) == gr.skip()
    noise_photo(2000, 1000).save(tmp_path / "photo.tiff")
    original = uploaded(events, tmp_path / "photo.tiff")
    preview = events.preview(original, VISITOR)
    with Image.open(preview) as picture:
        assert picture.size == (1024, 512)
    assert events.uploads.open_for(VISITOR, {"path": preview}).suffix == ".tiff"
    with pytest.raises(PhotoError):
        events.uploads.open_for("another", {"path": preview})


def test_names_from_files_are_escaped():
    assert "<b>&lt;i&gt;" in about("<i>", "<script>")
    assert "<script>" not in about("<i>", "<script>")
    assert "<i>" not in about("a", "b", "<i>")


def test_an_unsure_answer_is_said_to_be_unsure(events, our_checkpoint, reference):
    from vit_demo.checkpoints.calibration import Calibration, store_calibration

    store_calibration(our_checkpoint, Calibration(50.0, 0.9))
    _, unsure = events.analyse(reference, str(our_checkpoint), VISITOR)
    assert "Unsure: the likeliest name has only" in handlers.knowledge(unsure)


def test_a_sure_answer_says_nothing_of_doubt(shown):
    assert "nsure" not in handlers.knowledge(shown)


def test_the_legend_has_its_numbers(shown):
    words = legend(captions.picture(shown.main))
    assert "linear-gradient" in words
    assert words.count("<span>") == 5
    assert "≥" in words
    assert "≤" not in words


def test_a_signed_legend_is_open_at_both_ends(events, token):
    words = legend(captions.picture(ask(events, token, "relevance", "0", "2").main))
    ticks = words.split('class="ticks">')[1].split("</div>")[0]
    assert ticks.startswith("<span>≤ \u2212")
    assert "<span>≥ " in ticks


def test_another_map_is_the_one_that_python_gives(events, token, shown, our_checkpoint, photo_file):
    """For one class, and for one against another; names, layers and photo stay as they were."""
    first, second = shown.main.predictions[:2]
    for versus in ("", str(second.index)):
        asked = ask(events, token, "relevance", str(first.index), versus)
        expected = explain(
            load(str(our_checkpoint)), photo_file, "relevance", first.index,
            versus=second.index if versus else None,
        )  # fmt: skip
        assert asked.main.as_json() == expected.as_json()
        assert asked.layers is shown.layers
        assert events.results.get(token) is asked
        assert asked.main.checkpoint == load(str(our_checkpoint)).info


def test_classes_count_only_where_the_map_depends_on_them(events, token):
    asked, plain = (ask(events, token, "rollout", *classes) for classes in (("3", "1"), ("", "")))
    assert asked.main.as_json() == plain.main.as_json()
    assert asked.main.target is None


def test_a_class_that_is_called_by_anothers_number_is_not_mistaken(events, reference):
    """Folders 1, 10, 2: class 1 is called "10", and class 2 "2"."""
    named = replace(load("flowers"), labels=("1", "10", "2", "3", "4"))
    own = replace(events, get=lambda *_: named)
    token, _ = own.analyse(reference, "flowers", VISITOR)
    asked = ask(own, token, "relevance", "2", "1")
    assert (asked.main.target.index, asked.main.versus.index) == (2, 1)
    assert (asked.main.target.label, asked.main.versus.label) == ("2", "10")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("rolout", "", ""), "did you mean"),
        (("relevance", "99", ""), "no class 99"),
        (("relevance", "1", "1"), "compared with itself"),
    ],
)
def test_a_refusal_leaves_the_result_as_it_was(events, token, shown, asked, words):
    with pytest.raises(DemoError, match=words):
        ask(events, token, *asked)
    assert events.results.get(token) is shown


@pytest.mark.parametrize("value", [["rollout"], {"a": 1}, 7, True, "<img>", "²", float("inf")])
def test_controls_of_any_type_are_read_as_a_question(value):
    question = Question.read(value, value, value)
    assert (question.target, question.versus) == (None, None)
    assert question.method in (None, value)


def test_nothing_can_be_asked_before_a_run_or_about_a_result_that_is_gone(events, token):
    with pytest.raises(PhotoError, match="press Run first"):
        ask(events, None, "relevance")
    events.results.drop(token)
    with pytest.raises(PhotoError, match="press Run again"):
        ask(events, token, "relevance")


def test_an_older_question_gives_way_to_a_newer_one(events, token):
    """The first waits for its turn while the second is asked: its map never appears."""
    outcome = []

    def first():
        try:
            outcome.append(ask(events, token, "relevance"))
        except SupersededError as error:
            outcome.append(error)

    older = threading.Thread(target=first)
    with events.model_lock:
        older.start()
        while not events.results.asked(token):
            pass
        ticket = events.results.begin_question(token)
    older.join(60)
    assert isinstance(outcome[0], SupersededError)
    events.results.check_question(token, ticket)
    assert events.results.get(token).main.method == "rollout"


def test_a_smooth_map_says_so_and_only_its_picture_changes(shown):
    plain, words = handlers.main_map(shown)
    smooth, more = handlers.main_map(shown, True)
    assert plain.size == smooth.size
    assert plain.tobytes() != smooth.tobytes()
    assert captions.SMOOTHED in more
    assert captions.SMOOTHED not in words


def test_a_map_is_judged_as_in_python_and_drawn_beside_noise(
    events, token, shown, our_checkpoint, photo_file
):
    asked = ask(events, token, "legrad", "2")
    scored = events.score_map(token)
    assert scored.analysis is asked.main
    seen = prepare(load(str(our_checkpoint)), photo_file)
    assert scored.trust.as_json() == seen.scores_vs_random(seen.explain("legrad", 2)).as_json()
    drawn = faithfulness_panel.answer(scored, asked)
    assert drawn.count("<svg") == 3
    assert captions.verdict(scored.trust) in drawn
    assert faithfulness_panel.answer(scored, shown) == gr.skip()


def test_there_must_be_a_map_to_judge(events):
    with pytest.raises(gr.Error, match="press Run first"):
        events.score_map(None)


@pytest.fixture
def slices(monkeypatch):
    """Occlusion runs the model on one block at a time."""
    monkeypatch.setattr(masking, "TOKENS_AT_ONCE", 1)


class Bar(gr.Progress):
    """Hands every step to a function instead of to a browser."""

    def __init__(self, note):
        super().__init__()
        self.note = note

    def __call__(self, progress, **_):
        self.note(progress)


@pytest.mark.usefixtures("slices")
def test_others_come_in_between_the_passes_of_a_slow_method(events, token):
    """A visitor who comes after the first slice is served before the second one."""
    steps, other = [], None

    def visit():
        with events.model_lock:
            steps.append("other")

    def note(step):
        nonlocal other
        steps.append(step)
        if other is None:
            other = threading.Thread(target=visit)
            other.start()
            while not events.model_lock._waiting:
                other.join(0.01)

    shown = events.ask(token, Question("occlusion"), Bar(note))
    other.join(30)
    assert steps == [(1, 4), "other", (2, 4), (3, 4), (4, 4)]
    assert events.results.get(token) is shown


@pytest.mark.usefixtures("slices")
@pytest.mark.parametrize("moves_on", ["asks anew", "runs anew"])
def test_a_slow_method_ends_early_once_nobody_waits_for_it(events, token, moves_on):
    """The lock is free again, and the answer that nobody waits for never comes."""
    before = events.results.get(token)
    steps = []

    def note(step):
        steps.append(step)
        if moves_on == "asks anew":
            events.results.begin_question(token)
        else:
            events.results.drop(token)

    with pytest.raises(SupersededError):
        events.ask(token, Question("occlusion"), Bar(note))
    assert steps == [(1, 4)]
    if moves_on == "asks anew":
        assert events.results.get(token) is before
    with events.model_lock:
        pass
