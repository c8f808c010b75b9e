"""The page's header and notes: title, language switch, copy-link button, and reading notes."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from vit_demo.ui.explorer.panel import SCRIPT
from vit_demo.ui.explorer.words import LANGUAGES, words
from vit_demo.ui.languages import in_every_language, read_language, say, sentence
from vit_demo.ui.picker import Picker

CONNECT = f"""
const channels = ['language', 'notice'];
import({SCRIPT}).then((page) => page.masthead({{ element, trigger }}));
"""
# Data about a new visitor from the page's script, as JSON.
ARRIVE = f"(visit, ...rest) => import({SCRIPT}).then((page) => [page.arrive(...rest), ...rest])"

# Keys of texts that the page's script may show as a toast.
NOTICES = (
    "page.copied", "page.not_copied", "page.no_clipboard", "page.no_picture", "page.no_webcam",
)  # fmt: skip

BOLD = re.compile(r"\*\*(.+?)\*\*")

# Returns one text in the visitor's language.
Say = Callable[[str], str]
Update = Callable[[Say], dict[str, Any]]


@dataclass(frozen=True)
class Masthead:
    """The page header, and the event that changes the language of Gradio's components."""

    head: gr.HTML

    def wire(
        self,
        page: gr.Blocks,
        picker: Picker,
        language: gr.State,
        updates: Mapping[Any, Update],
    ) -> None:
        """Change the text of components on page load or when the visitor selects a language.

        `updates` gives the updates of each component, in addition to those of the picker.
        """
        visit = gr.Textbox(visible=False)
        outputs = [language, *picker.parts, *updates]

        def spoken(chosen: str, choices: dict[Any, Any]) -> dict[Any, Any]:
            in_words = partial(say, chosen)
            texts = {component: update(in_words) for component, update in updates.items()}
            return {language: chosen, **choices, **texts}

        def arrive(
            visit_json: str | None, recent: list[str] | None, ref: str | None
        ) -> dict[Any, Any]:
            visit = _read_visit(visit_json)
            chosen = read_language(visit.get("language"))
            wanted = picker.read_ref(visit.get("checkpoint"))
            return spoken(chosen, picker.spoken(recent, ref, chosen, wanted))

        def speak(recent: list[str] | None, ref: str | None, event: gr.EventData) -> dict[Any, Any]:
            content = event._data if isinstance(event._data, dict) else {}
            chosen = read_language(content.get("language"))
            return spoken(chosen, picker.spoken(recent, ref, chosen))

        def notice(event: gr.EventData) -> None:
            content = event._data if isinstance(event._data, dict) else {}
            if (key := content.get("key")) in NOTICES:
                gr.Info(sentence(key))

        picked = [picker.recent, picker.checkpoint]
        page.load(
            arrive,
            [visit, *picked],
            outputs,
            js=ARRIVE,
            show_progress="hidden",
            api_visibility="private",
        )
        self.head.language(
            speak,
            picked,
            outputs,
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
        self.head.notice(notice, show_progress="hidden", api_visibility="private")


def build_masthead() -> Masthead:
    """Lay out the title, the languages and the copy-link button."""
    buttons = "".join(
        f'<button type="button" data-language="{language}" lang="{language}">'
        f"{escape(words(language)['page.language.name'])}</button>"
        for language in LANGUAGES
    )
    head = gr.HTML(
        f"""<div class="masthead">
        <div><h1>{sentence("page.title")}</h1><p>{sentence("page.introduction")}</p></div>
        <div class="tools">
        <div role="group" class="languages">{buttons}</div>
        <button type="button" data-copy>{sentence("page.copy")}</button>
        </div></div>""",
        js_on_load=CONNECT,
        apply_default_css=False,
        padding=False,
        elem_id="introduction",
    )
    return Masthead(head)


def reading_html() -> str:
    """The notes on the meaning of the maps, in every language."""
    keys = [key for key in words() if key.startswith("page.reading.")]
    first, *rest = (in_every_language(partial(_with_bold, key)) for key in keys)
    items = "".join(f"<li>{html}</li>" for html in rest)
    return f'<p>{first}</p><ul>{items}</ul><p class="note">{sentence("page.credits")}</p>'


def _with_bold(key: str, language: str) -> str:
    return BOLD.sub(r"<b>\1</b>", escape(words(language)[key]))


def _read_visit(visit_json: str | None) -> dict[str, Any]:
    """Parse the visit data of the page's script; the content is untrusted."""
    try:
        content = json.loads(visit_json or "{}")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
