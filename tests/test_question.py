"""What can be asked of a result follows from the checkpoint that gave it."""

from dataclasses import replace

import gradio as gr
import pytest

from vit_demo.checkpoints import CheckpointCache, load
from vit_demo.explanations import METHODS
from vit_demo.ui.handlers import Handlers
from vit_demo.ui.question import MOST_CLASSES, build_question, classes_for

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
def shown(our_checkpoint, photo_file):
    return Handlers(CheckpointCache(load, 10**9).get).analyse(str(photo_file), str(our_checkpoint))


def test_all_that_fits_is_offered_and_the_likeliest_class_first(question, shown):
    offered = question.reset(shown)
    assert [value for _, value in offered[question.method].choices] == list(METHODS)
    best = shown.main.predictions[0]
    assert offered[question.target].value == str(best.index)
    assert offered[question.target].choices[0] == (best.label, str(best.index))
    assert offered[question.versus].value == ""
    assert offered[question.method].value == shown.main.method
    assert offered[question.classes].visible is METHODS[shown.main.method].class_specific


def test_thousands_of_classes_are_not_all_listed(question, shown):
    many = tuple(replace(shown.main.predictions[0], index=i, label=f"{i}") for i in range(1000))
    offered = question.reset(replace(shown, main=replace(shown.main, predictions=many)))
    assert len(offered[question.target].choices) == MOST_CLASSES


@pytest.mark.parametrize("method", [*METHODS, "nonsense", None])
def test_classes_are_asked_for_where_the_map_depends_on_them(method):
    known = METHODS.get(method)
    assert classes_for(method).visible is bool(known and known.class_specific)
