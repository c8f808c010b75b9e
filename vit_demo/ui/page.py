"""The page: inputs are a photo and a checkpoint; outputs are classes, patches and maps."""

from itertools import count
from typing import Any

import gradio as gr
from gradio.themes import Soft
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from vit_demo.analysis import EXAMPLES
from vit_demo.checkpoints import CheckpointCache
from vit_demo.settings import ASSETS, MEGABYTE
from vit_demo.ui import handlers
from vit_demo.ui.checkpoint_policy import CheckpointPolicy
from vit_demo.ui.explorer.panel import build_explorer, build_names, call
from vit_demo.ui.explorer.rows import Rows
from vit_demo.ui.explorer.words import DEFAULT_LANGUAGE
from vit_demo.ui.guarded_blocks import GuardedBlocks
from vit_demo.ui.handlers import Handlers
from vit_demo.ui.languages import read_language, say
from vit_demo.ui.masthead import build_masthead, reading_html
from vit_demo.ui.photo_input import PhotoInput
from vit_demo.ui.picker import build_picker
from vit_demo.ui.request_limits import LOOPBACK_NAMES, UPLOAD_BYTES, RequestLimits
from vit_demo.ui.results import Results
from vit_demo.ui.uploads import Uploads

STYLE, EXPLORER = ASSETS / "style.css", ASSETS / "explorer"
EXAMPLES_FOLDER = ASSETS / "examples"

# Uploads are private: they are deleted after an hour.
HOUR = 3600

# Concurrent runs: one uses the model, the others may be loading their checkpoints.
SEVERAL_RUN = 4
# Photos that are decoded at once; each may take a few hundred megabytes while it is open.
SEVERAL_DECODE = 2

# Limit of the cached layers of all visitors; the rows of the bundled checkpoint take 4.6 MB.
ROWS_BYTES = 100 * MEGABYTE

# Sessions whose component state Gradio keeps. Results have a separate limit in bytes.
MOST_SESSIONS = 1000


def build_page(
    cache: CheckpointCache,
    policy: CheckpointPolicy,
    uploads: Uploads,
    results: Results,
    space: str = "",
) -> GuardedBlocks:
    """Lay out the page. Nothing is loaded and nothing starts before it is launched.

    `space` is the id of the Space that the page runs on, if any.
    """
    rows = Rows(ROWS_BYTES)
    finished = {name: EXAMPLES_FOLDER / name for name in EXAMPLES}
    events = Handlers(cache.get, uploads, results, rows, finished)
    answers = count(1)

    def forget(current: str | None) -> None:
        results.drop(current)
        rows.drop(current)

    with GuardedBlocks(
        uploads,
        title=say(DEFAULT_LANGUAGE, "page.title"),
        analytics_enabled=False,
        delete_cache=(HOUR, HOUR),
        fill_width=True,
    ) as page:
        token = gr.State(time_to_live=HOUR, delete_callback=forget)
        language = gr.State(DEFAULT_LANGUAGE)
        masthead = build_masthead()
        with gr.Row(equal_height=False, elem_id="screen"):
            with gr.Column(scale=0, min_width=280, elem_id="left"):
                photo = PhotoInput(
                    label=say(DEFAULT_LANGUAGE, "page.photo"),
                    placeholder=say(DEFAULT_LANGUAGE, "page.drop"),
                    type="filepath",
                    sources=["upload", "clipboard", "webcam"],
                    height=190,
                    buttons=[],
                    elem_id="photo",
                )
                run = gr.Button(say(DEFAULT_LANGUAGE, "page.run"), variant="primary", elem_id="run")
                examples = _examples(photo, uploads)
                picker = build_picker(page, policy)
                names = build_names()
                known_classes = gr.HTML(elem_id="knows")
                picker.lay_out_details()
            with gr.Column(scale=1, min_width=320, elem_id="right"):
                explorer = build_explorer(EXAMPLES, policy.default, policy.offered, space)
                slide_file = gr.DownloadButton(elem_id="slide-file", elem_classes="unseen")
        with gr.Accordion(say(DEFAULT_LANGUAGE, "page.reading"), open=False) as reading:
            gr.HTML(reading_html(), elem_id="reading")

        def analyse(
            path: str | None,
            ref: str | None,
            previous: str | None,
            recent: list[str] | None,
            spoken: str | None,
            request: gr.Request,
            progress: gr.Progress = handlers.NO_PROGRESS,
        ) -> dict[Any, Any]:
            session, spoken = request.session_hash or "", read_language(spoken)
            new, shown, data = events.analyse(path, ref, session, previous, progress, spoken)
            newest, choices, can = picker.used(recent, shown, ref, spoken)
            return {
                token: new,
                # Gradio only sends changes, and the same photo gives the same data again.
                explorer.explorer: {**data, "answer": next(answers)},
                known_classes: handlers.knowledge(shown),
                picker.recent: newest,
                picker.checkpoint: choices,
                picker.can: can,
            }

        def preview(path: str | None, request: gr.Request) -> str | dict[str, object]:
            return events.preview(path, request.session_hash or "")

        running = run.click(
            analyse,
            [photo, picker.checkpoint, token, picker.recent, language],
            [
                token, explorer.explorer, known_classes,
                picker.recent, picker.checkpoint, picker.can,
            ],
            show_progress="full",
            show_progress_on=known_classes,
            concurrency_id="model",
            concurrency_limit=SEVERAL_RUN,
            # The script ignores second clicks; after another photo or checkpoint, Run starts a new
            # request.
            trigger_mode="multiple",
            js=call("running", inputs=True),
            api_visibility="private",
        )  # fmt: skip
        running.success(None, js=call("fresh"), api_visibility="private")
        for end in (running.success, running.failure):
            end(None, js=call("ended"), api_visibility="private")
        for source, changed in ((photo, "photoChanged"), (picker.checkpoint, "checkpointChanged")):
            source.change(None, source, js=call(changed, values=True), api_visibility="private")
        photo.upload(
            preview,
            photo,
            photo,
            show_progress="hidden",
            concurrency_limit=SEVERAL_DECODE,
            api_visibility="private",
        )
        explorer.wire(events, token, language, slide_file, names)
        masthead.wire(
            page,
            picker,
            language,
            {
                photo: lambda say: gr.update(label=say("page.photo"), placeholder=say("page.drop")),
                run: lambda say: gr.update(value=say("page.run")),
                examples: lambda say: gr.update(label=say("page.examples")),
                reading: lambda say: gr.update(label=say("page.reading")),
            },
        )
    return page


def _examples(photo: PhotoInput, uploads: Uploads) -> gr.Dataset:
    paths = [EXAMPLES_FOLDER / name for name in EXAMPLES]
    examples = gr.Examples(
        [[str(path)] for path in paths],
        [photo],
        label=say(DEFAULT_LANGUAGE, "page.examples"),
        elem_id="examples",
        api_visibility="private",
    )
    for path in paths:
        # The path of Gradio's copy, by which the browser refers to the example.
        uploads.add_example(str(photo.move_resource_to_block_cache(path)), path)
    return examples.dataset


def launch(
    page: GuardedBlocks,
    host: str | None,
    port: int | None,
    share: bool,
    browser: bool,
    own_machine: bool,
) -> None:
    """Start serving the page until `page.close()`.

    With `own_machine`, it only answers requests that use a local host name.
    """
    hosts = {*LOOPBACK_NAMES, host} - {None} if own_machine else None
    limits = Middleware(
        RequestLimits,
        page.uploads,
        page.known_events,
        page.adopt,
        page.waits,
        page.admits_work,
        hosts,
    )
    page.queue(max_size=40, api_open=False, default_concurrency_limit=4)
    page.launch(
        server_name=host,
        server_port=port,
        share=share,
        inbrowser=browser,
        theme=Soft(primary_hue="orange", neutral_hue="slate"),
        css_paths=[STYLE, EXPLORER / "explorer.css"],
        footer_links=["settings"],
        run_history=False,
        max_file_size=UPLOAD_BYTES,
        state_session_capacity=MOST_SESSIONS,
        app_kwargs={
            "middleware": [limits],
            "routes": [
                Mount("/explorer", StaticFiles(directory=EXPLORER)),
                Mount("/examples", StaticFiles(directory=EXAMPLES_FOLDER)),
            ],
        },
        ssr_mode=False,
        show_error=False,
        prevent_thread_lock=True,
        # Gradio's own messages mention arguments of launch(), but users have the flags of app.py.
        quiet=True,
    )
