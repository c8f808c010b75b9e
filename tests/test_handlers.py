"""The page's events, called as the page calls them."""

import base64
import gc
import json
import threading
import weakref
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from vit_demo import captions, explain, prepare
from vit_demo.analysis import PreparedPhoto, example_lenses
from vit_demo.checkpoints import CheckpointCache, load
from vit_demo.errors import DemoError, PhotoError
from vit_demo.explanations import DEFAULT_METHOD, masking
from vit_demo.explanations.queries import all_rollouts
from vit_demo.explanations.similarity import token_colors, token_similarity
from vit_demo.faithfulness import AUTOMATIC_STEPS
from vit_demo.ui import handlers
from vit_demo.ui.explorer.lens import lens_data
from vit_demo.ui.explorer.payload import MOST_CLASSES, layer_rows, patch_rows, rows_view
from vit_demo.ui.handlers import Question
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


def ask(events, token, view="rollout", target=None, versus=None):
    return events.ask(token, Question(view, target, versus))


def test_one_run_gives_the_default_map_and_what_the_explorer_draws(answered):
    _, shown, data = answered
    assert shown.main.method == DEFAULT_METHOD == "rollout"
    assert data["layers"] == 3
    assert [p["label"] for p in data["predictions"]] == [p.label for p in shown.main.predictions]
    made = [view["name"] for view in data["views"] if "values" in view]
    assert made == ["rollout"]


def test_what_a_visitor_looks_at_keeps_no_weights_in_memory(
    make_handlers, uploaded, our_checkpoint, photo_file
):
    cache = CheckpointCache(lambda ref, progress: load(ref), 1)
    events = make_handlers(cache.get)
    _, shown, _ = events.analyse(uploaded(events, photo_file), str(our_checkpoint), VISITOR)
    weights = weakref.ref(cache.get(str(our_checkpoint)).model)
    cache.get("flowers")
    gc.collect()
    assert weights() is None
    assert shown.main.checkpoint == load(str(our_checkpoint)).info


def test_a_result_is_as_large_as_what_is_drawn_whatever_the_photo(
    events, uploaded, our_checkpoint, noise_photo, tmp_path
):
    """A photo of 12 megapixels would keep 36 MB; the map is the one of the whole photo."""
    large = tmp_path / "large.jpg"
    noise_photo(4000, 3000).save(large, quality=80)
    _, shown, _ = events.analyse(uploaded(events, large), str(our_checkpoint), VISITOR)
    assert max(shown.main.photo.size) == 1024
    assert shown.bytes < 4_000_000
    whole = explain(load(str(our_checkpoint)), large)
    assert shown.main.heatmap.tolist() == whole.heatmap.tolist()
    assert captions.picture(shown.main).image.tobytes() == captions.picture(whole).image.tobytes()
    box, scale = whole.grid_box, 4000 / 1024
    assert [scale * edge for edge in shown.main.grid_box] == pytest.approx(list(box), rel=1e-3)


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
    "question", [Question("rollout"), Question("attention", layer=2, head=1), Question("attention")]
)
def test_the_download_is_a_slide(events, token, question, tmp_path):
    path = events.slide(token, question, str(tmp_path))
    with Image.open(path) as slide:
        assert slide.size == (1920, 1080)
    assert path.startswith(str(tmp_path))


def test_a_view_without_a_map_makes_no_slide(events, token, tmp_path):
    for view in ("patches", "looks_at", None, "relevance"):
        with pytest.raises(gr.Error, match="choose a map"):
            events.slide(token, Question(view), str(tmp_path))


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


def test_names_from_files_are_escaped(shown):
    named = replace(shown.main.checkpoint, ref="<i>", labels=("<script>",))
    words = handlers.knowledge(replace(shown, main=replace(shown.main, checkpoint=named)))
    assert "&lt;i&gt;" in words
    assert "&lt;script&gt;" in words
    assert "<script>" not in words
    assert "<i>" not in words


def test_an_unsure_answer_is_said_to_be_unsure(events, our_checkpoint, reference):
    from vit_demo.checkpoints.calibration import Calibration, store_calibration

    store_calibration(our_checkpoint, Calibration(50.0, 0.9))
    _, unsure, _ = events.analyse(reference, str(our_checkpoint), VISITOR)
    assert "Unsure: the most likely class has only" in handlers.knowledge(unsure)


def test_a_sure_answer_says_nothing_of_doubt(shown):
    assert "nsure" not in handlers.knowledge(shown)
    assert "Guessed" not in handlers.knowledge(shown)
    guessed = replace(shown.main.checkpoint, preprocessing_source="guess", notes=("A <note>.",))
    words = handlers.knowledge(replace(shown, main=replace(shown.main, checkpoint=guessed)))
    assert "Guessed: no file of this checkpoint says how photos are prepared" in words
    assert "A &lt;note&gt;." in words


def values(view):
    return np.frombuffer(base64.b64decode(view["values"]), dtype="<f4")


def test_another_map_is_the_one_that_python_gives(events, token, shown, our_checkpoint, photo_file):
    """For one class, and for one against another; the first map stays as it was."""
    first, second = shown.main.predictions[:2]
    for versus in (None, second.index):
        view = ask(events, token, "relevance", first.index, versus)
        expected = explain(
            load(str(our_checkpoint)), photo_file, "relevance", first.index, versus=versus
        )
        assert values(view).tolist() == expected.heatmap.flatten().tolist()
        assert (view["target"], view["versus"]) == (first.index, versus)
        kept = events.results.get(token)
        assert kept.maps["relevance"].as_json() == expected.as_json()
        assert kept.main is shown.main
        assert kept.maps["relevance"].checkpoint == load(str(our_checkpoint)).info


def test_classes_count_only_where_the_map_depends_on_them(events, token):
    asked, plain = (ask(events, token, "rollout", *classes) for classes in ((3, 1), (None, None)))
    assert values(asked).tolist() == values(plain).tolist()
    assert events.results.get(token).maps["rollout"].target is None


def test_a_class_that_is_called_by_anothers_number_is_not_mistaken(events, reference):
    """Folders 1, 10, 2: class 1 is called "10", and class 2 "2"."""
    named = replace(load("flowers"), labels=("1", "10", "2", "3", "4"))
    own = replace(events, get=lambda *_: named)
    token, *_ = own.analyse(reference, "flowers", VISITOR)
    ask(own, token, "relevance", 2, 1)
    asked = own.results.get(token).maps["relevance"]
    assert (asked.target.index, asked.versus.index) == (2, 1)
    assert (asked.target.label, asked.versus.label) == ("2", "10")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("rolout", None, None), "did you mean"),
        (("relevance", 99, None), "no class 99"),
        (("relevance", 1, 1), "compared with itself"),
    ],
)
def test_a_refusal_leaves_the_result_as_it_was(events, token, shown, asked, words):
    with pytest.raises(DemoError, match=words):
        ask(events, token, *asked)
    assert events.results.get(token) is shown


@pytest.mark.parametrize(
    "value", [["rollout"], {"a": 1}, -7, True, 10**30, "", "x" * 101, "²", float("inf"), 1.5]
)
def test_events_of_any_content_are_read_as_a_question(value):
    content = dict.fromkeys(("view", "target", "versus", "layer", "head"), value)
    read = Question.read(content)
    assert replace(read, view=None) == Question()
    assert read.view is None or read.view == value == "²"
    assert Question.read(value) == Question()


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
    assert set(events.results.get(token).maps) == {"rollout"}


def test_a_map_is_tested_as_in_python(events, token, our_checkpoint, photo_file):
    ask(events, token, "legrad", 2)
    tested = events.score_map(token, "legrad")
    seen = prepare(load(str(our_checkpoint)), photo_file)
    trust = seen.scores_vs_random(seen.explain("legrad", 2))
    assert [(f["map"], f["noise"], f["better"]) for f in tested["figures"]] == [
        (figure.mine, figure.noise, figure.better) for figure in captions.evidence(trust)
    ]
    assert tested["view"] == "legrad"


def test_there_must_be_a_map_to_test(events, token):
    with pytest.raises(gr.Error, match="press Run first"):
        events.score_map(None, "rollout")
    with pytest.raises(gr.Error, match="choose a map"):
        events.score_map(token, "patches")


def test_rows_of_layers_and_patches_are_those_of_the_payload(
    events, token, our_checkpoint, photo_file
):
    traced = prepare(load(str(our_checkpoint)), photo_file).traced
    assert json.loads(events.layer(token, 2)) == layer_rows(traced, 2)
    assert events.rows.get(token) is not None
    assert json.loads(events.patch(token, 3, 1, 2)) == patch_rows(traced, 3, (1, 2))
    for layer in (None, 0, 4):
        with pytest.raises(gr.Error, match="1 to 3"):
            events.layer(token, layer)
    with pytest.raises(gr.Error, match="no patch"):
        events.patch(token, 1, 4, 0)
    with pytest.raises(gr.Error, match="press Run first"):
        events.layer(None, 1)


def test_views_of_tokens_are_those_of_python(events, token, our_checkpoint, photo_file):
    traced = prepare(load(str(our_checkpoint)), photo_file).traced
    rows = ask(events, token, "through_depth")
    assert rows == rows_view("through_depth", all_rollouts(traced), traced.grid)
    view = ask(events, token, "looks_like")
    placed = np.frombuffer(base64.b64decode(view["bytes"]), dtype=np.uint8) / 255
    cosines = view["least"] + placed * (view["most"] - view["least"])
    expected = token_similarity(traced, (1, 2))[0].flatten()
    step = (view["most"] - view["least"]) / 255
    assert cosines.reshape(16, 16)[6] == pytest.approx(expected.numpy(), abs=step)
    colors = np.frombuffer(base64.b64decode(ask(events, token, "token_colours")["bytes"]), np.uint8)
    assert colors.reshape(4, 4, 3) / 255 == pytest.approx(token_colors(traced)[0].numpy(), abs=1e-2)


@pytest.fixture
def slices(monkeypatch):
    """Occlusion runs the model on one block at a time."""
    monkeypatch.setattr(masking, "TOKENS_PER_BATCH", 1)


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

    events.ask(token, Question("occlusion"), Bar(note))
    other.join(30)
    assert steps == [(1, 4), "other", (2, 4), (3, 4), (4, 4)]
    assert "occlusion" in events.results.get(token).maps


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


def test_the_lens_is_that_of_python_and_reads_the_examples_once(events, token, our_checkpoint):
    checkpoint = load(str(our_checkpoint))
    shown = events.results.get(token)
    sent = events.lens(token)
    traced = PreparedPhoto(checkpoint, shown.prepared).traced
    assert sent == lens_data(traced, shown.main, example_lenses(checkpoint), MOST_CLASSES)
    kept = dict(events.lenses)
    assert events.lens(token) == sent
    assert all(events.lenses[model] is logits for model, logits in kept.items())


def test_a_run_ends_what_nobody_pressed_for(events, token, reference, our_checkpoint, monkeypatch):
    """The model is free for the Run after the pass that is under way."""
    passes = []

    def pressed(checkpoint, between):
        passes.append(checkpoint)
        events.results.end_background(token)
        between(1, 3)
        passes.append(checkpoint)

    monkeypatch.setattr(handlers, "example_lenses", pressed)
    with pytest.raises(SupersededError):
        events.lens(token)
    assert len(passes) == 1
    ticket = events.results.begin_background(token, "lens")
    events.analyse(reference, str(our_checkpoint), VISITOR, token)
    with pytest.raises(SupersededError):
        events.results.check_background(token, "lens", ticket)


def test_the_automatic_test_is_that_of_python_in_fewer_steps(
    events, token, our_checkpoint, photo_file
):
    tested = events.score_map(token, "rollout", automatic=True)
    seen = prepare(load(str(our_checkpoint)), photo_file)
    trust = seen.scores_vs_random(seen.explain("rollout"), AUTOMATIC_STEPS)
    assert trust.steps == AUTOMATIC_STEPS == 5
    assert [(f["map"], f["noise"]) for f in tested["figures"]] == [
        (figure.mine, figure.noise) for figure in captions.evidence(trust)
    ]
    assert tested["short"]
    assert not events.score_map(token, "rollout")["short"]


def test_an_automatic_test_lets_others_through_after_every_pass(events, token, monkeypatch):
    order, other = [], None

    def visit():
        with events.model_lock:
            order.append("other")

    passed = handlers.Patience.passed

    def note(patience):
        nonlocal other
        order.append("pass")
        passed(patience)
        if other is None:
            other = threading.Thread(target=visit)
            other.start()
            while not events.model_lock._waiting:
                other.join(0.01)

    monkeypatch.setattr(handlers.Patience, "passed", note)
    events.score_map(token, "rollout", automatic=True)
    other.join(30)
    assert order[:3] == ["pass", "other", "pass"]
    # 2 maps, 5 steps: 4 + 4 sets are dropped, 4 + 4 and all of them blurred, 5 + 5 greyed.
    assert len(order) - 1 >= 24


def test_a_run_ends_an_automatic_test_after_the_pass_under_way(
    events, token, reference, our_checkpoint, monkeypatch
):
    passes = []

    def press_run(patience):
        del patience
        passes.append(1)
        events.results.end_background(token)

    monkeypatch.setattr(handlers.Patience, "passed", press_run)
    with pytest.raises(SupersededError):
        events.score_map(token, "rollout", automatic=True)
    assert len(passes) == 1
    with events.model_lock:
        pass
    events.analyse(reference, str(our_checkpoint), VISITOR, token)


def test_a_newer_test_ends_the_one_before(events, token, monkeypatch):
    ask(events, token, "legrad")
    passed = handlers.Patience.passed
    done = []

    def note(patience):
        passed(patience)
        if not done:
            done.append(events.results.begin_background(token, "test"))

    monkeypatch.setattr(handlers.Patience, "passed", note)
    with pytest.raises(SupersededError):
        events.score_map(token, "rollout", automatic=True)


def test_a_test_that_nobody_asked_for_is_given_up_where_passes_are_slow(monkeypatch):
    clock = iter([0.0, 1.0, 5.0, 6.0, 9.0, 10.0, 20.0, 22.0])
    monkeypatch.setattr(handlers, "monotonic", lambda: next(clock))
    patience = handlers.Patience(30.0, 25)
    for _ in range(3):
        patience.go_on()
        patience.passed()
    patience.go_on()
    with pytest.raises(SupersededError):
        patience.passed()


@pytest.fixture
def with_example(make_handlers, photo_file, our_checkpoint):
    """Handlers with one example, whose checkpoint is a small one; and how often it was run."""
    runs = []

    def get(ref, progress):
        runs.append(ref)
        return load(str(our_checkpoint))

    return replace(make_handlers(get), examples={"bee.png": photo_file}), runs


def test_the_model_is_run_for_an_example_when_something_is_first_asked(with_example):
    events, runs = with_example
    assert runs == []
    token = events.token_of_example("bee.png", VISITOR)
    assert runs == ["flowers"]
    assert events.token_of_example("bee.png", VISITOR) == token
    assert runs == ["flowers"]
    assert ask(events, token, "relevance")["name"] == "relevance"
    assert json.loads(events.layer(token, 1))["layer"] == 1


def test_two_visitors_of_an_example_do_not_supersede_each_other(with_example):
    events, _ = with_example
    one, other = (events.token_of_example("bee.png", session) for session in ("one", "other"))
    assert one != other
    ticket = events.results.begin_question(one)
    events.results.begin_question(other)
    events.results.check_question(one, ticket)


@pytest.mark.parametrize("name", [None, 3, "", "../bee.png", "other.png", ["bee.png"], {}])
def test_what_is_no_example_is_none(with_example, name):
    events, runs = with_example
    assert events.token_of_example(name, VISITOR) is None
    assert runs == []


def test_a_photo_is_checked_at_the_upload(events, uploaded, photo_file, tmp_path):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(photo_file.read_bytes()[:2000])
    with pytest.raises(gr.Error, match="damaged"):
        events.preview(uploaded(events, damaged), VISITOR)
    assert events.preview(uploaded(events, photo_file), VISITOR) == gr.skip()
