"""The explorer on the page: the component that holds it, and the events that it asks."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vit_demo.checkpoints import DEFAULT
from vit_demo.errors import DemoError
from vit_demo.ui import handlers
from vit_demo.ui.explorer.words import LANGUAGES, words
from vit_demo.ui.handlers import Handlers, Question, whole_number
from vit_demo.ui.languages import read_language
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
    page.connect({{ element, props, trigger, watch, channels }}));
"""
ANSWER = """
watch('value', () => import(%s).then((page) => page.answered('%s', props.value)));
"""

# Rows are read, not computed, so several visitors may ask at once.
SEVERAL_READ = 4


def call(function: str, *arguments: str, inputs: bool = False, values: bool = False) -> str:
    """A listener in JavaScript that calls one function of the page's script.

    Beside an event of the server it hands on its `inputs`. With `values`, the function is called
    with the values of the inputs.
    """
    given = "...inputs" if values else ", ".join(f"'{argument}'" for argument in arguments)
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
        language: gr.State,
        slide_file: gr.DownloadButton,
        progress_on: gr.HTML,
    ) -> None:
        """Answer what the explorer asks: views, tests, rows of layers, and slides."""

        def token_of(current: str | None, event: gr.EventData, request: gr.Request) -> str | None:
            """The result that a question is about: the visitor's own, or an example's."""
            name = event._data.get("example") if isinstance(event._data, dict) else None
            session = request.session_hash or ""
            return events.token_of_example(name, session) or current

        def view(
            current: str | None,
            spoken: str | None,
            event: gr.EventData,
            request: gr.Request,
            progress: gr.Progress = handlers.NO_PROGRESS,
        ) -> Any:
            question, asked = Question.read(event._data), token_of(current, event, request)
            try:
                found = events.ask(asked, question, progress, read_language(spoken))
                return _answer(event, found)
            except SupersededError:
                return gr.skip()
            except DemoError as error:
                handlers.warn(error)
                return _answer(event, None)

        def test(current: str | None, event: gr.EventData, request: gr.Request) -> Any:
            content = event._data if isinstance(event._data, dict) else {}
            automatic = content.get("automatic") is True
            view = Question.read(content).view
            try:
                found = events.score_map(token_of(current, event, request), view, automatic)
            except SupersededError:
                return _answer(event, None)
            except gr.Error:
                if automatic:  # The page asked by itself, so there is nobody to tell.
                    return _answer(event, None)
                raise
            return _answer(event, found)

        def lens(current: str | None, event: gr.EventData, request: gr.Request) -> Any:
            try:
                return _answer(event, events.lens(token_of(current, event, request)))
            except (SupersededError, DemoError):
                # The page asked by itself, so there is nobody to tell.
                return _answer(event, None)

        def layer(current: str | None, event: gr.EventData, request: gr.Request) -> Any:
            asked = token_of(current, event, request)
            content = event._data if isinstance(event._data, dict) else {}
            number, row, col = (whole_number(content.get(k)) for k in ("layer", "row", "column"))
            if row is None:
                return _answer(event, events.layer(asked, number))
            return _answer(event, events.patch(asked, number, row, col))

        def slide(current: str | None, event: gr.EventData, request: gr.Request) -> str:
            asked = token_of(current, event, request)
            content = event._data if isinstance(event._data, dict) else {}
            smooth = content.get("smooth") is True
            folder = slide_file.GRADIO_CACHE
            return events.slide(asked, Question.read(content), folder, smooth)

        progress = {"show_progress": "minimal", "show_progress_on": progress_on}
        self._on("view", view, [token, language], self.answers["view"], **progress)
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
        self, channel: str, ask: Callable[..., Any], inputs: Any, output: Any, **options: Any
    ) -> Any:
        event = getattr(self.explorer, channel)(
            ask,
            inputs,
            output,
            # The newest question counts; an older one that is still being answered is dropped.
            trigger_mode="multiple",
            api_visibility="private",
            **{"show_progress": "hidden", **options},
        )
        event.failure(None, js=call("failed", channel), api_visibility="private")
        return event


def build_explorer(
    examples: Sequence[str], default: str, offered: Sequence[str] | None, space: str
) -> ExplorerPanel:
    """Lay it out; the scripts are in `assets/explorer`.

    `examples` are the photos with a finished explorer, made with the bundled checkpoint; `default`
    is the checkpoint that is picked first, `offered` are all that can be picked, None for any, and
    `space` is the Space's id, if the page runs on one.
    """
    explorer = gr.HTML(
        None,
        html_template=HOST,
        js_on_load=CONNECT,
        apply_default_css=False,
        padding=False,
        elem_id="explorer-panel",
        tables={language: words(language) for language in LANGUAGES},
        examples=list(examples),
        bundled=DEFAULT,
        picked_first=default,
        offered=None if offered is None else list(offered),
        space=space,
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
