"""Search for a checkpoint on the Hub: the input is a query, the output a list of buttons."""

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

# Output of an event: HTML, or Gradio's "no change".
Answer = str | dict[str, Any]

# A click on a result sends its reference to Python and marks it as selected.
ON_CLICK = """
element.addEventListener('click', (click) => {
    const button = click.target.closest('button[data-ref]');
    if (!button) return;
    element.querySelectorAll('button').forEach((b) => b.setAttribute('aria-pressed', b === button));
    trigger('pick', {ref: button.dataset.ref});
});
"""


class Searches:
    """One visitor's searches: a new one cancels the previous one."""

    def __init__(self) -> None:
        self._newest = Event()
        self._lock = Lock()

    def begin(self) -> Event:
        """Cancel the running search; the returned event cancels the new one."""
        with self._lock:
            self._newest.set()
            self._newest = Event()
            return self._newest


def find(
    query: str | None, searches: Searches | None, offline: Offline | None = None
) -> Iterator[Answer]:
    """HTML for the results: first that the search runs, then the results or an error.

    The client has a timeout of a few seconds. An empty query cancels the running search and clears
    the list. `offline` lists references that need no Hub, for use without a network. A cancelled
    search ends with Gradio's "no change".
    """
    # If the search runs before page load has finished, there is no state and nothing to cancel.
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
    # Gradio repeats the last output at the end of an event, which would overwrite a newer search.
    yield gr.skip() if stopped.is_set() else answer


def listed(found: Sequence[Found]) -> str:
    """Results as buttons; all text comes from the network and is escaped."""
    if not found:
        return _paragraph(sentence("page.found.none"))
    rows = []
    for model in found:
        ref = escape(str(model.reference))
        marks = in_every_language(partial(_repository_facts, model))
        rows.append(
            f'<li><button type="button" data-ref="{ref}" aria-pressed="false"><b>{ref}</b>'
            f"<small>{marks}</small></button></li>"
        )
    return f'<ul class="found">{"".join(rows)}</ul>'


def picked(event: gr.EventData) -> str:
    """The reference of the clicked result, or an empty string."""
    # Attribute access on the event fails if the request has no data.
    match event._data:
        case {"ref": str(ref)}:
            return ref[:LONGEST_REF]
    return ""


def _repository_facts(model: Found, language: str) -> str:
    """Downloads, license and access of a repository, in one language, as HTML."""
    marks = [
        say(language, "page.found.downloads", count=f"{model.downloads:,}"),
        model.license or say(language, "page.found.no_license"),
    ]
    if model.gated:
        marks.append(say(language, "page.found.gated"))
    return escape(" · ".join(marks))


def _paragraph(html: str) -> str:
    return f'<p class="about">{html}</p>'
