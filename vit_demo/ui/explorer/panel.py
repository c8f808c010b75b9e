"""The explorer on the page: the component that holds it, and the events that it asks."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vit_demo.errors import DemoError
from vit_demo.ui import handlers
from vit_demo.ui.explorer.words import words
from vit_demo.ui.handlers import Handlers, Question, whole_number
from vit_demo.ui.results import SupersededError

HOST = '<div class="explorer-host"></div>'
NAMES_HOST = '<div class="explorer names-host"></div>'
CHANNELS = ("view", "test", "lens", "layer", "slide")

# Scripts are served under this path, whatever the page's own address is.
SCRIPT = "new URL('explorer/page.js', document.baseURI)"

# Gradio knows the events of a component by their names in its script.
CONNECT = f"""
const channels = [{", ".join(repr(channel) for channel in CHANNELS)}];
import({SCRIPT}).then((page) =>
    page.connect({{ element, props, trigger, watch, channels, words: props.words }}));
"""
ANSWER = """
watch('value', () => import(%s).then((page) => page.answered('%s', props.value)));
"""

# Rows are read, not computed, so several visitors may ask at once.
SEVERAL_READ = 4


def call(function: str, *arguments: str, inputs: bool = False) -> str:
    """A listener in JavaScript that calls one function of the page's script.

    Beside an event of the server it hands on its `inputs`.
    """
    given = ", ".join(f"'{argument}'" for argument in arguments)
    returned = " return inputs;" if inputs else ""
    called = f"import({SCRIPT}).then((page) => page.{function}({given}));"
    return f"(...inputs) => {{ {called}{returned} }}"


@dataclass(frozen=True)
class ExplorerPanel:
    """The explorer, and one component for the answers to each kind of its questions."""

    explorer: gr.HTML
    answers: dict[str, gr.HTML]

    def wire(
        self,
        events: Handlers,
        token: gr.State,
        slide_file: gr.DownloadButton,
        progress_on: gr.HTML,
    ) -> None:
        """Answer what the explorer asks: views, tests, rows of layers, and slides."""

        def view(
            current: str | None, event: gr.EventData, progress: gr.Progress = handlers.NO_PROGRESS
        ) -> Any:
            try:
                return _answer(event, events.ask(current, Question.read(event._data), progress))
            except SupersededError:
                return gr.skip()
            except DemoError as error:
                gr.Warning(handlers.as_html(error))
                return _answer(event, None)

        def test(current: str | None, event: gr.EventData) -> Any:
            asked = event._data if isinstance(event._data, dict) else {}
            automatic = asked.get("automatic") is True
            try:
                found = events.score_map(current, Question.read(asked).view, automatic)
            except SupersededError:
                return _answer(event, None)
            except gr.Error:
                if automatic:  # Nobody has pressed anything, so nobody is told.
                    return _answer(event, None)
                raise
            return _answer(event, found)

        def lens(current: str | None, event: gr.EventData) -> Any:
            try:
                return _answer(event, events.lens(current))
            except (SupersededError, DemoError):
                # Nobody has pressed anything, so nobody is told.
                return _answer(event, None)

        def layer(current: str | None, event: gr.EventData) -> Any:
            content = event._data if isinstance(event._data, dict) else {}
            number, row, col = (whole_number(content.get(k)) for k in ("layer", "row", "column"))
            if row is None:
                return _answer(event, events.layer(current, number))
            return _answer(event, events.patch(current, number, row, col))

        def slide(current: str | None, event: gr.EventData) -> str:
            content = event._data if isinstance(event._data, dict) else {}
            smooth = content.get("smooth") is True
            folder = slide_file.GRADIO_CACHE
            return events.slide(current, Question.read(content), folder, smooth)

        progress = {"show_progress": "minimal", "show_progress_on": progress_on}
        self._on("view", view, token, self.answers["view"], **progress)
        self._on("test", test, token, self.answers["test"])
        self._on("lens", lens, token, self.answers["lens"])
        # As many as there are layers are read after a Run: they take no place in the queue.
        self._on("layer", layer, token, self.answers["layer"], queue=False)
        self._on("slide", slide, token, slide_file).success(
            # The picture is made when it is asked for; then the browser is sent to fetch it.
            None,
            js="() => document.querySelector('#slide-file').click()",
            api_visibility="private",
        )

    def _on(
        self, channel: str, ask: Callable[..., Any], token: gr.State, output: Any, **options: Any
    ) -> Any:
        event = getattr(self.explorer, channel)(
            ask,
            token,
            output,
            # The newest question counts; an older one that is still being answered is dropped.
            trigger_mode="multiple",
            api_visibility="private",
            **{"show_progress": "hidden", **options},
        )
        event.failure(None, js=call("failed", channel), api_visibility="private")
        return event


def build_explorer() -> ExplorerPanel:
    """Lay it out; the scripts lie in `assets/explorer`."""
    explorer = gr.HTML(
        None,
        html_template=HOST,
        js_on_load=CONNECT,
        apply_default_css=False,
        padding=False,
        elem_id="explorer-panel",
        words=words(),
    )
    answers = {
        channel: gr.HTML(
            None,
            html_template="<span></span>",
            js_on_load=ANSWER % (SCRIPT, channel),
            apply_default_css=False,
            elem_classes="unseen",
        )
        for channel in CHANNELS
        if channel != "slide"
    }
    return ExplorerPanel(explorer, answers)


def build_names() -> gr.HTML:
    """Where the explorer's script puts the most likely classes."""
    return gr.HTML(
        None,
        html_template=NAMES_HOST,
        js_on_load="",
        apply_default_css=False,
        padding=False,
        elem_id="names",
    )


def _answer(event: gr.EventData, content: Any) -> dict[str, Any]:
    """The answer to the question of that number; large contents travel as one text."""
    asked = event._data if isinstance(event._data, dict) else {}
    text = content if content is None or isinstance(content, str) else json.dumps(content)
    return {"id": whole_number(asked.get("id")), "content": text}
