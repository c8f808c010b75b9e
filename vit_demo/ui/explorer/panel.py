"""The explorer on the page: its component and its events."""

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

# The scripts are served under this path, relative to the page's own URL.
SCRIPT = "new URL('explorer/page.js', document.baseURI)"

# Gradio finds the events of a component by their names in its script.
CONNECT = f"""
const channels = [{", ".join(repr(channel) for channel in CHANNELS)}];
import({SCRIPT}).then((page) =>
    page.connect({{ element, props, trigger, watch, channels }}));
"""
ANSWER = """
watch('value', () => import(%s).then((page) => page.answered('%s', props.value)));
"""

# Rows are read, not computed, so several requests may run at once.
SEVERAL_READ = 4


def call(function: str, *arguments: str, inputs: bool = False, values: bool = False) -> str:
    """A JavaScript listener that calls one function of the page's script.

    `inputs` must be true if the listener accompanies a server event: it then returns its inputs.
    With `values`, the function is called with the values of the inputs.
    """
    given = "...inputs" if values else ", ".join(f"'{argument}'" for argument in arguments)
    returned = " return inputs;" if inputs else ""
    called = f"import({SCRIPT}).then((page) => page.{function}({given}));"
    return f"(...inputs) => {{ {called}{returned} }}"


@dataclass(frozen=True)
class ExplorerPanel:
    """The explorer, and one component per channel that receives the server's answers."""

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
        """Connect the explorer's requests: views, tests, lens, layers and slides."""

        def token_of(current: str | None, event: gr.EventData, request: gr.Request) -> str | None:
            """The token of the requested result: the visitor's own, or an example's."""
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
            question, result = Question.read(event._data), token_of(current, event, request)
            try:
                found = events.ask(result, question, progress, read_language(spoken))
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
                if automatic:  # the visitor did not request it
                    return _answer(event, None)
                raise
            return _answer(event, found)

        def lens(current: str | None, event: gr.EventData, request: gr.Request) -> Any:
            try:
                return _answer(event, events.lens(token_of(current, event, request)))
            except (SupersededError, DemoError):
                # An automatic request: the visitor did not start it, so show no error.
                return _answer(event, None)

        def layer(current: str | None, event: gr.EventData, request: gr.Request) -> Any:
            result = token_of(current, event, request)
            content = event._data if isinstance(event._data, dict) else {}
            number, row, col = (whole_number(content.get(k)) for k in ("layer", "row", "column"))
            if row is None:
                return _answer(event, events.layer(result, number))
            return _answer(event, events.patch(result, number, row, col))

        def slide(current: str | None, event: gr.EventData, request: gr.Request) -> str:
            result = token_of(current, event, request)
            content = event._data if isinstance(event._data, dict) else {}
            smooth = content.get("smooth") is True
            folder = slide_file.GRADIO_CACHE
            return events.slide(result, Question.read(content), folder, smooth)

        progress = {"show_progress": "minimal", "show_progress_on": progress_on}
        self._on("view", view, [token, language], self.answers["view"], **progress)
        self._on("test", test, token, self.answers["test"])
        self._on("lens", lens, token, self.answers["lens"])
        # After a run, the page requests every layer, so these requests bypass the queue.
        self._on("layer", layer, token, self.answers["layer"], queue=False)
        self._on("slide", slide, token, slide_file).success(
            # The file is created on request; then the hidden button downloads it.
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
            # A new request supersedes an older one that is still running.
            trigger_mode="multiple",
            api_visibility="private",
            **{"show_progress": "hidden", **options},
        )
        event.failure(None, js=call("failed", channel), api_visibility="private")
        return event


def build_explorer(
    examples: Sequence[str], default: str, offered: Sequence[str] | None, space: str
) -> ExplorerPanel:
    """Lay out the explorer; its scripts are in `assets/explorer`.

    `examples` are the photos with a precomputed explorer, made with the bundled checkpoint.
    `default` is the initially selected checkpoint, `offered` are all that can be selected, or None
    for any, and `space` is the Space's id, if the page runs on one.
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
    """The component into which the explorer's script writes the top classes."""
    return gr.HTML(
        None,
        html_template=NAMES_HOST,
        js_on_load="",
        apply_default_css=False,
        padding=False,
        elem_id="names",
    )


def _answer(event: gr.EventData, content: Any) -> dict[str, Any]:
    """The answer, with the id of its request; large contents are sent as one string."""
    request = event._data if isinstance(event._data, dict) else {}
    text = content if content is None or isinstance(content, str) else json.dumps(content)
    return {"id": whole_number(request.get("id")), "content": text}
