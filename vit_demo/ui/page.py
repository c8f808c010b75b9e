"""The page: a photo and a checkpoint go in; names, patches and maps come out."""

import gradio as gr
from gradio.themes import Soft

from vit_demo.checkpoints import CheckpointCache
from vit_demo.settings import ASSETS
from vit_demo.ui import handlers
from vit_demo.ui.handlers import Handlers, Shown
from vit_demo.ui.offer import Offer
from vit_demo.ui.photo_input import PhotoInput
from vit_demo.ui.picker import build_picker
from vit_demo.ui.question import build_question
from vit_demo.ui.trust import build_trial

TITLE = "Where does a Vision Transformer look?"

STYLE = ASSETS / "style.css"

EXAMPLES = ("dahlia.jpg", "honey-bee.jpg", "drawn-sunflower.png")

# Uploads are the visitors' own: they are deleted an hour after they came.
HOUR = 3600

# Runs at once: one looks at its photo, the others may be waiting for their checkpoints.
SEVERAL_RUN = 4

INTRODUCTION = f"""
# {TITLE}
Give it a photo of a flower. You will see the names it finds likeliest, the patches it really \
reads, and where it looked.
"""

EXAMPLES_NOTE = """
The dahlia is a flower that the bundled checkpoint cannot know: it says roses. The aster under the \
bee is another: it says daisy. The sunflower was drawn by a program. Photos: \
dahlia by vultilion (CC BY 2.0), bee by John Severns (public domain).
"""

READING = """
The first map is **relevance**: it follows the attention that raises the score of one class back \
through all layers. Of the maps that are quick to draw it did best for the bundled checkpoint.

* **rollout** follows all attention, for no class, and lets half of every step pass by it, as the \
residual connections do. It shows **where information could flow from**, not why a name was chosen.
* **legrad** asks to which attention of the last layers the score answers. \
**occlusion** hides patches and watches the probability of the class fall. With *and not* they \
answer "why the one and not the other?": orange speaks for the first, purple for the second.
* **Put it to the test** hides the patches that the map calls important, first to last, and \
watches the probability of the name; then the same in an order drawn by chance. A map that does no \
better than noise is a picture, and no explanation.
* A bright patch is a patch that the class token could draw on. It need not be one that the \
decision hangs on.
* Some patches of plain background light up in many Vision Transformers: the model uses them as \
scratch space. That is what it does, and so it is shown.
* Colours end at the 99th percentile, so that one very bright patch does not leave the others \
dark. The numbers are never changed.
"""


# A result belongs to the photo and the checkpoint that were there when Run was pressed. Once one of
# them changes it is greyed, and stays so until a result for the present pair has come.
AGES = "() => { document.body.dataset.now = performance.now(); document.body.dataset.old = 'yes'; }"
ASKED = "(...inputs) => { document.body.dataset.asked = document.body.dataset.now; return inputs; }"
FRESH = """(...inputs) => {
    const seen = document.body.dataset;
    if (seen.asked === seen.now) delete seen.old;
    return inputs;
}"""


def build_page(cache: CheckpointCache, offer: Offer) -> gr.Blocks:
    """Lay out the page. Nothing is loaded and nothing starts before it is launched."""
    events = Handlers(cache.get)
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(HOUR, HOUR), fill_width=False
    ) as page:
        state, answer = gr.State(), gr.State()
        gr.Markdown(INTRODUCTION, elem_id="introduction")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                photo = PhotoInput(
                    label="Photo",
                    type="filepath",
                    format="png",
                    sources=["upload", "clipboard", "webcam"],
                    height=340,
                    buttons=[],
                    elem_id="photo",
                )
                gr.Examples(
                    [[str(ASSETS / "examples" / name)] for name in EXAMPLES],
                    [photo],
                    label="Or one of these",
                    api_visibility="private",
                )
                gr.Markdown(EXAMPLES_NOTE, elem_classes="note")
            with gr.Column(scale=4, min_width=320):
                picker = build_picker(page, offer)
                run = gr.Button("Run", variant="primary", size="lg", elem_id="run")
                names = gr.Label(label="Likeliest", num_top_classes=5, elem_id="names")
                knows = gr.HTML(elem_id="knows")
        with gr.Row(visible=False, elem_id="results") as results:
            with gr.Column(min_width=280):
                gr.Markdown("### 1 · What the model reads")
                patches = _map_image("patches", "png", "The photo, cut into patches")
                reads = gr.HTML(elem_id="reads")
            with gr.Column(min_width=280):
                gr.Markdown("### 2 · Where it looked")
                overlay = _map_image("overlay", "jpeg", "The map over the photo")
                question = build_question()
                smooth = gr.Checkbox(label="Smooth, for show", container=False, elem_id="smooth")
                overlay_legend = gr.HTML()
                save = gr.DownloadButton(
                    "Download as a slide", elem_id="download", size="sm", interactive=False
                )
                trial = build_trial()
            with gr.Column(min_width=280):
                gr.Markdown("### 3 · Layer by layer")
                layer_image = _map_image("layer-image", "jpeg", "Attention of one layer")
                layer = gr.Slider(1, 12, step=1, label="Layer", elem_id="layer", buttons=[])
                layer_legend = gr.HTML()
        with gr.Accordion("What these maps show, and what they do not", open=False):
            gr.Markdown(READING)

        def show(shown: Shown, soft: bool) -> dict[object, object]:
            image, words = handlers.main_map(shown, soft)
            last = len(shown.layers)
            last_image, last_words = handlers.layer_map(shown, last)
            return {
                names: handlers.likeliest(shown),
                knows: handlers.knowledge(shown),
                results: gr.Row(visible=True),
                patches: handlers.patches(shown),
                reads: handlers.reading(shown),
                overlay: image,
                overlay_legend: words,
                save: gr.DownloadButton(interactive=False),
                **trial.reset(),
                layer: gr.Slider(maximum=last, value=last),
                layer_image: last_image,
                layer_legend: last_words,
                **question.reset(shown),
            }

        def take(given: Shown, current: Shown, soft: bool) -> dict[object, object]:
            if given.layers is not current.layers:
                return {}  # another photo has come since it was asked
            image, words = handlers.main_map(given, soft)
            return {
                state: given,
                overlay: image,
                overlay_legend: words,
                save: gr.DownloadButton(interactive=False),
                **trial.reset(),
            }

        def slide(current: Shown | None, soft: bool) -> gr.DownloadButton | dict[str, object]:
            if current is None:
                return gr.skip()
            path = handlers.download(current, save.GRADIO_CACHE, soft)
            return gr.DownloadButton(value=path, interactive=True)

        shown = [
            names, knows, results, patches, reads, overlay, overlay_legend, trial.figures, save,
            layer, layer_image, layer_legend, *question.inputs, question.classes,
        ]  # fmt: skip
        for source in (photo, picker.checkpoint):
            source.change(None, js=AGES, api_visibility="private")
        photo.upload(events.preview, photo, photo, show_progress="hidden", api_visibility="private")
        run.click(
            events.analyse,
            [photo, picker.checkpoint],
            state,
            show_progress="full",
            show_progress_on=names,
            concurrency_id="model",
            concurrency_limit=SEVERAL_RUN,
            trigger_mode="always_last",
            js=ASKED,
            api_visibility="private",
        ).success(
            show, [state, smooth], shown, show_progress="hidden", js=FRESH, api_visibility="private"
        ).success(
            slide,
            [state, smooth],
            save,
            show_progress="hidden",
            api_visibility="private",
        ).success(
            picker.used,
            [picker.recent, state, picker.checkpoint],
            [picker.recent, picker.checkpoint, picker.can],
            show_progress="hidden",
            api_visibility="private",
        )
        question.wire(events.ask, state, answer, overlay).success(
            take,
            [answer, state, smooth],
            [state, overlay, overlay_legend, trial.figures, save],
            show_progress="hidden",
            api_visibility="private",
        ).success(slide, [state, smooth], save, show_progress="hidden", api_visibility="private")
        smooth.input(
            handlers.redrawn,
            [state, smooth],
            [overlay, overlay_legend],
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        ).success(slide, [state, smooth], save, show_progress="hidden", api_visibility="private")
        trial.wire(events.judge, state)
        layer.input(
            handlers.layer_map,
            [state, layer],
            [layer_image, layer_legend],
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        )
    return page


def launch(page: gr.Blocks, host: str | None, port: int | None, share: bool, browser: bool) -> None:
    """Serve the page until it is stopped."""
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
        max_file_size="20mb",
        ssr_mode=False,
        show_error=False,
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
