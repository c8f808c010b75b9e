"""Searching the Hub from the page, with the genuine client and a Hub on this machine."""

import gradio as gr
import pytest
from hub_driver import FILES, closed_port

from vit_demo.checkpoints.hub import Found, HubReference
from vit_demo.ui.search import Searches, find, listed


@pytest.fixture
def ask(hub, monkeypatch):
    """The answers that the page shows one after the other."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return lambda query: list(find(query, Searches()))


def test_what_is_found_can_be_clicked_and_says_what_it_is(ask, hub):
    hub.add("eve/peonies-vit", FILES)
    hub.add("eve/peonies-gated", FILES, gated=True, tags=("swin",))
    hub.add("eve/peonies-resnet", FILES, tags=("resnet",))
    first, answer = ask(" peonies ")
    assert "Searching" in first
    assert 'data-ref="eve/peonies-vit"' in answer
    assert "7 downloads · apache-2.0" in answer
    assert "7 downloads · licence unknown · gated: its terms must be accepted first" in answer
    assert answer.count("<button") == 2


def test_finding_nothing_is_said(ask):
    assert "has no image classifier" in ask("no flower bears this name")[-1]


def test_an_empty_box_clears_the_list_and_asks_nobody(ask, hub):
    hub.log.clear()
    assert ask("  ") == [""] == ask(None)
    assert hub.log == []


def test_without_a_network_there_is_one_sentence(ask, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    answer = ask("peonies")[-1]
    assert "refuses connections" in answer
    assert "works offline: flowers" in answer
    assert answer.startswith('<p class="about">')


def test_a_new_search_stops_the_one_before_which_then_shows_nothing(ask, hub):
    hub.add("eve/lupins", FILES, api_seconds=5)
    searches = Searches()
    first = find("lupins", searches)
    assert "Searching" in next(first)
    second = find("peonies", searches)
    next(second)
    assert list(first) == [gr.skip()]  # nothing, not even what it last said
    assert list(second) != []


def test_what_the_hub_says_is_shown_as_text():
    hostile = Found(HubReference("a/b"), 1, 0, '<img src=x onerror="alert(1)">', gated=False)
    words = listed([hostile])
    assert "<img" not in words
    assert "&lt;img" in words
