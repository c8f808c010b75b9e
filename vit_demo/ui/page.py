"""The page: a photo and a checkpoint go in; names, patches and maps come out."""

from typing import Any

import gradio as gr
from gradio.themes import Soft
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from vit_demo.checkpoints import CheckpointCache
from vit_demo.settings import ASSETS, MEGABYTE
from vit_demo.ui import handlers
from vit_demo.ui.checkpoint_policy import CheckpointPolicy
from vit_demo.ui.explorer.panel import build_explorer, build_names, call
from vit_demo.ui.explorer.rows import Rows
from vit_demo.ui.guarded_blocks import GuardedBlocks
from vit_demo.ui.handlers import Handlers
from vit_demo.ui.photo_input import PhotoInput
from vit_demo.ui.picker import build_picker
from vit_demo.ui.request_limits import LOOPBACK_NAMES, UPLOAD_BYTES, RequestLimits
from vit_demo.ui.results import Results
from vit_demo.ui.uploads import Uploads

TITLE = "Where does a Vision Transformer look?"

STYLE, EXPLORER = ASSETS / "style.css", ASSETS / "explorer"

EXAMPLES = ("dahlia.jpg", "honey-bee.jpg", "drawn-sunflower.png")

# Uploads are the visitors' own: they are deleted an hour after they came.
HOUR = 3600

# Runs at once: one looks at its photo, the others may be waiting for their checkpoints.
SEVERAL_RUN = 4
# Photos decoded for a preview at once; each may take a few hundred megabytes while it is open.
SEVERAL_DECODE = 2

# What is kept of all visitors' layers; the rows of the bundled checkpoint take 4.6 MB.
ROWS_BYTES = 100 * MEGABYTE

# Visitors whose components Gradio remembers. Their results have a bound in bytes of their own.
MOST_SESSIONS = 1000

INTRODUCTION = f"""
# {TITLE}
Upload a photo of a flower. You see the model's top-5 predictions, the patches that it reads, and \
its CLS attention rollout.
"""

EXAMPLES_NOTE = """
The bundled checkpoint does not know dahlias: it says roses. The flower under the bee is an aster, \
which it does not know either: it says daisy. The sunflower was drawn by a program. Photos: \
dahlia by vultilion (CC BY 2.0), bee by John Severns (public domain).
"""

READING = """
The first map is **attention rollout** from the CLS token: it multiplies the attention of all \
layers, half of every step taken by the residual connection. It shows **where information could \
come from**, for no class in particular, and not why a class was predicted.

* **relevance** weights attention by the gradient of one class and follows it through all layers. \
Of the maps that are quick to compute it was the most faithful for the bundled checkpoint.
* **legrad** uses the gradient of the class score with respect to the attention of the last \
layers. **occlusion** masks patches and measures how much the probability of the class drops.
* **vs** a second class answers "why this class and not that one?" for the maps of a class: orange \
is evidence for the explained class, purple for the other.
* **evidence** splits the logit of one class into what each patch adds to it or takes from it. It \
is exact for plain Vision Transformers, at the cost of one pass.
* **Test this map** removes the patches that the map ranks highest, in order, and tracks the \
probability of the class; then it does the same in random order. A map that does no better than \
random order is a picture, not an explanation.
* A bright patch is a patch that the CLS token could draw on. The prediction need not depend on it.
* In many Vision Transformers some background patches have high attention (arXiv 2309.16588: the \
model stores global information in them). The maps show them as they are.
* Colours are clipped at the 99th percentile, so that one patch does not leave the others dark. \
The numbers are not changed.
"""


def build_page(
    cache: CheckpointCache, policy: CheckpointPolicy, uploads: Uploads, results: Results
) -> GuardedBlocks:
    """Lay out the page. Nothing is loaded and nothing starts before it is launched."""
    rows = Rows(ROWS_BYTES)
    events = Handlers(cache.get, uploads, results, rows)

    def forget(current: str | None) -> None:
        results.drop(current)
        rows.drop(current)

    with GuardedBlocks(
        uploads,
        title=TITLE,
        analytics_enabled=False,
        delete_cache=(HOUR, HOUR),
        fill_width=True,
    ) as page:
        token = gr.State(time_to_live=HOUR, delete_callback=forget)
        gr.Markdown(INTRODUCTION, elem_id="introduction")
        with gr.Row(equal_height=False, elem_id="screen"):
            with gr.Column(scale=0, min_width=280, elem_id="left"):
                photo = PhotoInput(
                    label="Photo",
                    type="filepath",
                    sources=["upload", "clipboard", "webcam"],
                    height=190,
                    buttons=[],
                    elem_id="photo",
                )
                run = gr.Button("Run", variant="primary", elem_id="run")
                _examples(photo, uploads)
                picker = build_picker(page, policy)
                names = build_names()
                known_classes = gr.HTML(elem_id="knows")
                picker.lay_out_details()
            with gr.Column(scale=1, min_width=320, elem_id="right"):
                explorer = build_explorer()
                slide_file = gr.DownloadButton(elem_id="slide-file", elem_classes="unseen")
        with gr.Accordion("What these maps show, and what they do not", open=False):
            gr.Markdown(READING)
            gr.Markdown(EXAMPLES_NOTE, elem_classes="note")

        def analyse(
            path: str | None,
            ref: str | None,
            previous: str | None,
            recent: list[str] | None,
            request: gr.Request,
            progress: gr.Progress = handlers.NO_PROGRESS,
        ) -> dict[Any, Any]:
            session = request.session_hash or ""
            new, shown, data = events.analyse(path, ref, session, previous, progress)
            newest, choices, can = picker.used(recent, shown, ref)
            return {
                token: new,
                explorer.explorer: data,
                known_classes: handlers.knowledge(shown),
                picker.recent: newest,
                picker.checkpoint: choices,
                picker.can: can,
            }

        def preview(path: str | None, request: gr.Request) -> str | dict[str, object]:
            return events.preview(path, request.session_hash or "")

        running = run.click(
            analyse,
            [photo, picker.checkpoint, token, picker.recent],
            [
                token, explorer.explorer, known_classes,
                picker.recent, picker.checkpoint, picker.can,
            ],
            show_progress="full",
            show_progress_on=known_classes,
            concurrency_id="model",
            concurrency_limit=SEVERAL_RUN,
            # The script stops second clicks; after another photo or checkpoint, Run asks anew.
            trigger_mode="multiple",
            js=call("running", inputs=True),
            api_visibility="private",
        )  # fmt: skip
        running.success(None, js=call("fresh"), api_visibility="private")
        for end in (running.success, running.failure):
            end(None, js=call("ended"), api_visibility="private")
        for source in (photo, picker.checkpoint):
            source.change(None, js=call("outdated"), api_visibility="private")
        photo.upload(
            preview,
            photo,
            photo,
            show_progress="hidden",
            concurrency_limit=SEVERAL_DECODE,
            api_visibility="private",
        )
        explorer.wire(events, token, slide_file, names)
    return page


def _examples(photo: PhotoInput, uploads: Uploads) -> None:
    paths = [ASSETS / "examples" / name for name in EXAMPLES]
    gr.Examples(
        [[str(path)] for path in paths],
        [photo],
        label="Or one of these",
        api_visibility="private",
    )
    for path in paths:
        # Where Gradio keeps its copy, by which the browser names the example.
        uploads.add_example(str(photo.move_resource_to_block_cache(path)), path)


def launch(
    page: GuardedBlocks,
    host: str | None,
    port: int | None,
    share: bool,
    browser: bool,
    own_machine: bool,
) -> None:
    """Start serving the page; it goes on until `page.close()`.

    On an `own_machine` it answers to the names of this machine alone.
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
            "routes": [Mount("/explorer", StaticFiles(directory=EXPLORER))],
        },
        ssr_mode=False,
        show_error=False,
        prevent_thread_lock=True,
        # Its own lines advise calls of launch(), where ours are flags of app.py.
        quiet=True,
    )
