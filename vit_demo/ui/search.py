"""Finding a checkpoint on the Hub: a query goes in, a list to click on comes out."""

from collections.abc import Iterator, Sequence
from html import escape
from threading import Event, Lock
from typing import Any

import gradio as gr

from vit_demo.checkpoints.hub import Found, Offline, search
from vit_demo.errors import CancelledError, DemoError

MOST_FOUND = 8
LONGEST_QUERY, LONGEST_REF = 100, 200

# What an event answers with: a page's text, or Gradio's "leave it as it is".
Answer = str | dict[str, Any]

NOTHING = "The Hub has no image classifier of a family that is read here under such a name."

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
    """What to show under the box: that it is being searched, then what was found or what is wrong.

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
    yield _words("Searching the Hub …")
    try:
        answer = listed(search(query, MOST_FOUND, cancelled=stopped, offline=offline))
    except CancelledError:
        answer = ""
    except DemoError as error:
        answer = _words(str(error))
    # Gradio shows an event's last answer once more at its end, over the newer search's.
    yield gr.skip() if stopped.is_set() else answer


def listed(found: Sequence[Found]) -> str:
    """Results as buttons; every word in them comes from the network, so all are escaped."""
    if not found:
        return _words(NOTHING)
    rows = []
    for model in found:
        marks = [f"{model.downloads:,} downloads", model.license or "licence unknown"]
        if model.gated:
            marks.append("gated: its terms must be accepted first")
        ref = escape(str(model.reference))
        rows.append(
            f'<li><button type="button" data-ref="{ref}" aria-pressed="false"><b>{ref}</b>'
            f"<span>{escape(' · '.join(marks))}</span></button></li>"
        )
    return f'<ul class="found">{"".join(rows)}</ul>'


def picked(event: gr.EventData) -> str:
    """The reference of the result that was clicked, as the browser says; or none."""
    # Attribute access on the event fails where the request came without any data.
    match event._data:
        case {"ref": str(ref)}:
            return ref[:LONGEST_REF]
    return ""


def _words(text: str) -> str:
    return f'<p class="about">{escape(text)}</p>'
