"""Finding a checkpoint on the Hub: a query goes in, a list to click on comes out."""

from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from threading import Event, Lock
from typing import Any

import gradio as gr

from vit_demo.checkpoints.hub import Found, Offline, search
from vit_demo.errors import CancelledError, DemoError
from vit_demo.ui.languages import error_html, in_every_language, say, sentence

MOST_FOUND = 8
LONGEST_QUERY, LONGEST_REF = 100, 200

# What an event answers with: a page's text, or Gradio's "leave it as it is".
Answer = str | dict[str, Any]

# A click on a result hands its reference to Python, and marks it as the one that was taken.
ON_CLICK = """
element.addEventListener('click', (click) => {
    const button = click.target.closest('button[data-ref]');
    if (!button) return;
    element.querySelectorAll('button').forEach((b) => b.setAttribute('aria-pressed', b === button));
    trigger('pick', {ref: button.dataset.ref});
});
"""


class Searches:
    """One visitor's searches: a new one stops the one before it."""

    def __init__(self) -> None:
        self._newest = Event()
        self._lock = Lock()

    def begin(self) -> Event:
        """Stop what is being looked for; the new search ends when the returned event is set."""
        with self._lock:
            self._newest.set()
            self._newest = Event()
            return self._newest


def find(
    query: str | None, searches: Searches | None, offline: Offline | None = None
) -> Iterator[Answer]:
    """What to show below the box: that the search runs, then what was found or what is wrong.

    The client waits for an answer no longer than its own few seconds. An empty query stops the
    search before it and clears the list. `offline` names what needs no Hub, for when there is none.
    What was stopped ends with Gradio's "leave it as it is".
    """
    # Who is quicker than the start of the page has no search before this one to be stopped.
    stopped = (searches or Searches()).begin()
    query = (query or "").strip()[:LONGEST_QUERY]
    if not query:
        yield ""
        return
    yield _paragraph(sentence("page.searching"))
    try:
        answer = listed(search(query, MOST_FOUND, cancelled=stopped, offline=offline))
    except CancelledError:
        answer = ""
    except DemoError as error:
        answer = _paragraph(error_html(error))
    # Gradio shows an event's last answer once more at its end, over the newer search's.
    yield gr.skip() if stopped.is_set() else answer


def listed(found: Sequence[Found]) -> str:
    """Results as buttons; every word in them comes from the network, so all are escaped."""
    if not found:
        return _paragraph(sentence("page.found.none"))
    rows = []
    for model in found:
        ref = escape(str(model.reference))
        marks = in_every_language(partial(_marks, model))
        rows.append(
            f'<li><button type="button" data-ref="{ref}" aria-pressed="false"><b>{ref}</b>'
            f"<small>{marks}</small></button></li>"
        )
    return f'<ul class="found">{"".join(rows)}</ul>'


def picked(event: gr.EventData) -> str:
    """The reference of the result that was clicked, as the browser says; or none."""
    # Attribute access on the event fails where the request came without any data.
    match event._data:
        case {"ref": str(ref)}:
            return ref[:LONGEST_REF]
    return ""


def _marks(model: Found, language: str) -> str:
    """What a repository says of itself, in one language, as HTML."""
    marks = [
        say(language, "page.found.downloads", count=f"{model.downloads:,}"),
        model.license or say(language, "page.found.no_license"),
    ]
    if model.gated:
        marks.append(say(language, "page.found.gated"))
    return escape(" · ".join(marks))


def _paragraph(html: str) -> str:
    return f'<p class="about">{html}</p>'
