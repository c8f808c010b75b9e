"""The page: a photo and a checkpoint go in; names, patches and maps come out."""

from typing import Any

import gradio as gr
from gradio.themes import Soft
from starlette.middleware import Middleware

from vit_demo.checkpoints import CheckpointCache
from vit_demo.errors import DemoError
from vit_demo.settings import ASSETS
from vit_demo.ui import handlers
from vit_demo.ui.checkpoint_policy import CheckpointPolicy
from vit_demo.ui.faithfulness_panel import build_faithfulness_panel
from vit_demo.ui.guarded_blocks import GuardedBlocks
from vit_demo.ui.handlers import Handlers, Question
from vit_demo.ui.photo_input import PhotoInput
from vit_demo.ui.picker import build_picker
from vit_demo.ui.question import build_question
from vit_demo.ui.request_limits import LOOPBACK_NAMES, UPLOAD_BYTES, RequestLimits
from vit_demo.ui.results import Results, SupersededError
from vit_demo.ui.shown import Shown
from vit_demo.ui.uploads import Uploads

TITLE = "Where does a Vision Transformer look?"

STYLE = ASSETS / "style.css"

EXAMPLES = ("dahlia.jpg", "honey-bee.jpg", "drawn-sunflower.png")

# Uploads are the visitors' own: they are deleted an hour after they came.
HOUR = 3600

# Runs at once: one looks at its photo, the others may be waiting for their checkpoints.
SEVERAL_RUN = 4
# Photos decoded for a preview at once; each may take a few hundred megabytes while it is open.
SEVERAL_DECODE = 2

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
* **Compared with** answers "why this class and not that one?" for the maps of a class: orange is \
evidence for the explained class, purple for the other.
* **Put it to the test** removes the patches that the map ranks highest, in order, and tracks the \
probability of the class; then it does the same in random order. A map that does no better than \
random order is a picture, not an explanation.
* A bright patch is a patch that the CLS token could draw on. The prediction need not depend on it.
* In many Vision Transformers some background patches have high attention (arXiv 2309.16588: the \
model stores global information in them). The maps show them as they are.
* Colours are clipped at the 99th percentile, so that one patch does not leave the others dark. \
The numbers are not changed.
"""


# A result belongs to the photo and the checkpoint that were there when Run was pressed. Once one of
# them changes it is greyed, and stays so until a result for the present pair has come.
AGES = """() => {
    const page = document.body.dataset;
    page.now = performance.now();
    page.old = 'yes';
    delete page.running;
}"""
ASKED = "(...inputs) => { document.body.dataset.asked = document.body.dataset.now; return inputs; }"
FRESH = """() => {
    const page = document.body.dataset;
    if (page.asked === page.now) delete page.old;
}"""
ENDED = "() => { delete document.body.dataset.running; }"

# Of a double click, Gradio would take the second before it knows of the first.
ONE_RUN = """() => {
    document.addEventListener('click', (click) => {
        if (!click.target.closest('#run')) return;
        if (document.body.dataset.running) click.stopImmediatePropagation();
        document.body.dataset.running = 'yes';
    }, true);
}"""

# The picture is made when it is asked for; then the browser is sent to fetch it.
FETCH_SLIDE = "() => document.querySelector('#slide-file').click()"


def build_page(
    cache: CheckpointCache, policy: CheckpointPolicy, uploads: Uploads, results: Results
) -> GuardedBlocks:
    """Lay out the page. Nothing is loaded and nothing starts before it is launched."""
    events = Handlers(cache.get, uploads, results)
    with GuardedBlocks(
        uploads,
        title=TITLE,
        analytics_enabled=False,
        delete_cache=(HOUR, HOUR),
        fill_width=False,
    ) as page:
        token = gr.State(time_to_live=HOUR, delete_callback=results.drop)
        gr.Markdown(INTRODUCTION, elem_id="introduction")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                photo = PhotoInput(
                    label="Photo",
                    type="filepath",
                    sources=["upload", "clipboard", "webcam"],
                    height=340,
                    buttons=[],
                    elem_id="photo",
                )
                _examples(photo, uploads)
                gr.Markdown(EXAMPLES_NOTE, elem_classes="note")
            with gr.Column(scale=4, min_width=320):
                picker = build_picker(page, policy)
                run = gr.Button("Run", variant="primary", size="lg", elem_id="run")
                names = gr.Label(label="Top-5 predictions", num_top_classes=5, elem_id="names")
                known_classes = gr.HTML(elem_id="knows")
        with gr.Row(visible=False, elem_id="results") as panels:
            with gr.Column(min_width=280):
                gr.Markdown("### 1 · The patches that the model reads")
                patches = _map_image("patches", "png", "The photo, cut into patches")
                reads = gr.HTML(elem_id="reads")
            with gr.Column(min_width=280):
                gr.Markdown("### 2 · Where the model looks")
                overlay = _map_image("overlay", "jpeg", "The map over the photo")
                question = build_question()
                smooth = gr.Checkbox(
                    label="Smooth (display only)", container=False, elem_id="smooth"
                )
                overlay_legend = gr.HTML()
                save = gr.Button("Download as a slide", elem_id="download", size="sm")
                slide_file = gr.DownloadButton(elem_id="slide-file", elem_classes="unseen")
                faithfulness_panel = build_faithfulness_panel()
            with gr.Column(min_width=280):
                gr.Markdown("### 3 · Attention layer by layer")
                layer_image = _map_image("layer-image", "jpeg", "Attention of one layer")
                layer = gr.Slider(1, 12, step=1, label="Layer", elem_id="layer", buttons=[])
                layer_legend = gr.HTML()
        with gr.Accordion("What these maps show, and what they do not", open=False):
            gr.Markdown(READING)

        def map_of(shown: Shown, soft: bool) -> dict[Any, Any]:
            image, words = handlers.main_map(shown, soft)
            return {
                overlay: image,
                overlay_legend: words,
                **faithfulness_panel.reset(),
                **question.update(shown),
            }

        def analyse(
            path: str | None,
            ref: str | None,
            previous: str | None,
            soft: bool,
            wanted_layer: float | None,
            method: str | None,
            target: str | None,
            versus: str | None,
            recent: list[str] | None,
            request: gr.Request,
            progress: gr.Progress = handlers.NO_PROGRESS,
        ) -> dict[Any, Any]:
            asked = Question.read(method, target, versus)
            session = request.session_hash or ""
            layers_before = results.layers(previous)
            new, shown = events.analyse(path, ref, session, previous, asked, progress)
            last = len(shown.layers)
            # Who never moved the slider sees the last layer of every model.
            moved = layers_before is not None and wanted_layer != layers_before
            chosen = handlers.layer_in_range(wanted_layer if moved else last, last)
            layer_picture, layer_words = handlers.layer_map(shown, chosen)
            newest, choices, can = picker.used(recent, shown, ref)
            return {
                token: new,
                names: handlers.top_predictions(shown),
                known_classes: handlers.knowledge(shown),
                panels: gr.Row(visible=True),
                patches: handlers.patches(shown),
                reads: handlers.input_description(shown),
                **map_of(shown, soft),
                layer: gr.Slider(maximum=last, value=chosen),
                layer_image: layer_picture,
                layer_legend: layer_words,
                picker.recent: newest,
                picker.checkpoint: choices,
                picker.can: can,
            }

        def ask(
            current: str | None,
            soft: bool,
            method: str | None,
            target: str | None,
            versus: str | None,
            progress: gr.Progress = handlers.NO_PROGRESS,
        ) -> dict[Any, Any]:
            asked = Question.read(method, target, versus)
            try:
                return map_of(events.ask(current, asked, progress), soft)
            except SupersededError:
                return {overlay: gr.skip()}
            except DemoError as error:
                # The map in sight stays, and the controls go back to what it answers.
                gr.Warning(handlers.as_html(error))
                if not results.has(current):
                    return {overlay: gr.skip()}
                return question.update(results.get(current))

        def redraw(current: str | None, soft: bool) -> tuple[Any, Any]:
            if not results.has(current):
                return gr.skip(), gr.skip()
            return handlers.main_map(results.get(current), soft)

        def redraw_layer(current: str | None, wanted: float | None) -> tuple[Any, Any]:
            if not results.has(current):
                return gr.skip(), gr.skip()
            return handlers.layer_map(results.get(current), wanted)

        def slide(current: str | None, soft: bool) -> str:
            with handlers.toasts():
                return handlers.slide(results.get(current), slide_file.GRADIO_CACHE, soft)

        def preview(path: str | None, request: gr.Request) -> str | dict[str, object]:
            return events.preview(path, request.session_hash or "")

        drawn = [overlay, overlay_legend, faithfulness_panel.figures, *question.outputs]
        running = run.click(
            analyse,
            [photo, picker.checkpoint, token, smooth, layer, *question.inputs, picker.recent],
            [
                token, names, known_classes, panels, patches, reads, *drawn,
                layer, layer_image, layer_legend,
                picker.recent, picker.checkpoint, picker.can,
            ],
            show_progress="full",
            show_progress_on=names,
            concurrency_id="model",
            concurrency_limit=SEVERAL_RUN,
            # ONE_RUN stops second clicks; after another photo or checkpoint, Run asks anew at once.
            trigger_mode="multiple",
            js=ASKED,
            api_visibility="private",
        )  # fmt: skip
        page.load(None, js=ONE_RUN, api_visibility="private")
        running.success(None, js=FRESH, api_visibility="private")
        running.then(None, js=ENDED, api_visibility="private")
        for source in (photo, picker.checkpoint):
            source.change(None, js=AGES, api_visibility="private")
        photo.upload(
            preview,
            photo,
            photo,
            show_progress="hidden",
            concurrency_limit=SEVERAL_DECODE,
            api_visibility="private",
        )
        gr.on(
            # A choice from a list makes two `input` events, and one `select`.
            [control.select for control in question.inputs],
            ask,
            [token, smooth, *question.inputs],
            drawn,
            show_progress="minimal",
            show_progress_on=overlay,
            # The newest question counts; an older one that is still being answered is dropped.
            trigger_mode="multiple",
            api_visibility="private",
        )
        smooth.input(
            redraw,
            [token, smooth],
            [overlay, overlay_legend],
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        )
        save.click(
            slide,
            [token, smooth],
            slide_file,
            show_progress="minimal",
            show_progress_on=save,
            trigger_mode="once",
            api_visibility="private",
        ).success(None, js=FETCH_SLIDE, api_visibility="private")
        faithfulness_panel.wire(events, token)
        layer.input(
            redraw_layer,
            [token, layer],
            [layer_image, layer_legend],
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        )
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
        css_paths=[STYLE],
        footer_links=["settings"],
        run_history=False,
        max_file_size=UPLOAD_BYTES,
        state_session_capacity=MOST_SESSIONS,
        app_kwargs={"middleware": [limits]},
        ssr_mode=False,
        show_error=False,
        prevent_thread_lock=True,
        # Its own lines advise calls of launch(), where ours are flags of app.py.
        quiet=True,
    )


def _map_image(elem_id: str, picture_format: str, words: str) -> gr.Image:
    return gr.Image(
        show_label=False,
        interactive=False,
        format=picture_format,
        buttons=["fullscreen"],
        elem_id=elem_id,
        alt_text=words,
    )
