"""What can be asked of a result follows from the checkpoint that gave it."""

from dataclasses import replace

import gradio as gr
import pytest

from vit_demo.explanations import METHODS
from vit_demo.ui.question import MOST_CLASSES, build_question

# Building gr.Blocks leaves event loops unclosed, which is Gradio's.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected"),
]


@pytest.fixture
def question():
    with gr.Blocks():
        return build_question()


@pytest.fixture
def shown(make_handlers, uploaded, our_checkpoint, photo_file):
    events = make_handlers()
    return events.analyse(uploaded(events, photo_file), str(our_checkpoint), "visitor")[1]


def test_all_that_fits_is_offered_and_the_top_prediction_is_explained(question, shown):
    offered = question.update(shown)
    assert [value for _, value in offered[question.method].choices] == list(METHODS)
    names = {value: name for name, value in offered[question.method].choices}
    assert names.pop("occlusion") == "occlusion (4 model passes)"
    assert all(name == value for value, name in names.items())
    best = shown.main.predictions[0]
    assert offered[question.target].value == ""
    assert offered[question.target].choices[:2] == [
        (f"Top prediction: {best.label}", ""),
        (best.label, str(best.index)),
    ]
    assert offered[question.versus].value == ""
    assert offered[question.method].value == shown.main.method == "rollout"
    assert offered[question.classes].visible is False


@pytest.mark.parametrize("target", [None, 2])
def test_a_class_is_never_compared_with_itself(question, shown, target):
    explained = shown.main.predictions[0].index if target is None else target
    offered = question.update(replace(shown, target=target))
    others = [value for _, value in offered[question.versus].choices]
    assert str(explained) not in others
    assert len(others) == len(shown.main.predictions)


def test_the_controls_say_what_the_map_in_sight_answers(question, shown):
    offered = question.update(replace(shown, target=2, versus=1))
    assert offered[question.target].value == "2"
    assert offered[question.versus].value == "1"


def test_thousands_of_classes_are_not_all_listed(question, shown):
    many = tuple(replace(shown.main.predictions[0], index=i, label=f"{i}") for i in range(1000))
    offered = question.update(replace(shown, main=replace(shown.main, predictions=many)))
    assert len(offered[question.target].choices) == 1 + MOST_CLASSES
