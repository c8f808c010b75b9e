"""The words and the memory of the picker; the picker itself is clicked in tests/browser."""

import gradio as gr
import pytest

from vit_demo.explanations import METHODS
from vit_demo.explanations.capability import Capability, capabilities
from vit_demo.models.mobilevit import MobileViT
from vit_demo.models.vit import VisionTransformer
from vit_demo.ui.checkpoint_policy import CheckpointPolicy
from vit_demo.ui.picker import (
    MOST_RECENT,
    Picker,
    ability,
    maps,
    read_recent,
    remember,
)

ROLLOUT = METHODS["rollout"]
RELEVANCE = METHODS["relevance"]


def able(method, exact=True, unsupported_reason=None):
    return Capability(method, exact, unsupported_reason, {})


def test_the_line_tells_the_family_its_classes_and_where_it_lies():
    words = ability(CheckpointPolicy(), "flowers")
    assert "<b>ViT · 5 classes · bundled</b>" in words
    assert maps("ViT", capabilities(VisionTransformer)) in words


def test_the_maps_are_told_apart_by_what_they_answer():
    assert maps("ViT", [able(ROLLOUT), able(RELEVANCE)]) == (
        "Maps for one class: relevance. Maps that are the same for every class: rollout. "
        "Exact for ViT."
    )


@pytest.mark.parametrize(
    ("exact", "words"),
    [
        ((True, True), "Exact for Swin."),
        ((False, False), "Approximate for Swin."),
        ((False, True), "Approximate for Swin: rollout."),
    ],
)
def test_what_is_approximate_is_said(exact, words):
    found = [able(ROLLOUT, exact[0]), able(RELEVANCE, exact[1])]
    assert maps("Swin", found).endswith(words)


def test_what_does_not_fit_is_not_offered():
    words = maps(
        "MobileViT", [able(ROLLOUT), able(RELEVANCE, unsupported_reason="it has no attention")]
    )
    assert words == "Maps that are the same for every class: rollout. Exact for MobileViT."


def test_mobilevits_maps_are_approximate():
    words = maps("MobileViT", capabilities(MobileViT))
    assert words.endswith("Approximate for MobileViT: rollout, attention, relevance.")
    assert "legrad" not in words


def test_what_is_not_here_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert "not known before it is fetched" in ability(CheckpointPolicy(), "ann/flowers")


@pytest.mark.parametrize(
    ("ref", "words"),
    [("<img src=x>", "&lt;img src=x&gt;"), (None, "is no bundled"), ("flowrs", "did you mean")],
)
def test_what_is_no_checkpoint_is_said_at_once_and_escaped(ref, words):
    line = ability(CheckpointPolicy(), ref)
    assert words in line
    assert "<img" not in line


@pytest.mark.parametrize(
    "stored", [None, "flowers", 3, {"0": "flowers"}, [3, None, ["a"], "", "a" * 500]]
)
def test_a_browser_may_say_anything(stored):
    assert read_recent(stored) == []


def test_the_newest_comes_first_and_stands_once_and_few_are_kept():
    recent = remember(["b", "a", 7, "c"], "a")
    assert recent == ["a", "b", "c"]
    many = [f"owner/{number}" for number in range(20)]
    assert remember(many, "new") == ["new", *many[: MOST_RECENT - 1]]


def test_after_a_run_the_line_is_about_what_is_picked_by_now(
    make_handlers, uploaded, our_checkpoint, photo_file
):
    """Somebody ran one checkpoint and chose another before the answer came."""
    events = make_handlers()
    _, shown, _ = events.analyse(uploaded(events, photo_file), str(our_checkpoint), "visitor")
    picker = Picker(CheckpointPolicy(), gr.Dropdown(), gr.HTML(), gr.BrowserState(), None)
    newest, _, line = picker.used([], shown, "flowers")
    assert newest == [str(our_checkpoint)]
    assert line == ability(CheckpointPolicy(), "flowers")
    assert line != ability(CheckpointPolicy(), str(our_checkpoint))
    assert picker.opened([], str(our_checkpoint))[1] == ability(
        CheckpointPolicy(), str(our_checkpoint)
    )


def test_what_is_pickled_and_stays_closed_says_so():
    ref = "facebook/deit-tiny-distilled-patch16-224"
    assert "weights are pickled" in ability(CheckpointPolicy(), ref)
    assert "weights are pickled" not in ability(CheckpointPolicy(allow_pickle=True), ref)


@pytest.mark.parametrize("ref", [None, 7, "", "a" * 300, ["flowers"], {"ref": "flowers"}])
def test_a_link_may_name_anything(ref):
    picker = Picker(CheckpointPolicy(), gr.Dropdown(), gr.HTML(), gr.BrowserState(), None)
    assert picker.read_ref(ref) is None
    assert picker.read_ref("ann/irises") == "ann/irises"


def test_the_line_is_there_in_chinese_too():
    line = ability(CheckpointPolicy(), "flowers")
    assert "<b>ViT · 5 个类别 · 自带</b>" in line
    assert "对 ViT 是精确的。" in maps("ViT", capabilities(VisionTransformer), "zh")
