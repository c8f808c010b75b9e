"""What the page's events do: translate to and from `analysis`, and nothing more."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from html import escape
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from PIL import Image

from vit_demo import captions
from vit_demo.analysis import TOP, Analysis, PreparedPhoto
from vit_demo.checkpoints import Checkpoint
from vit_demo.checkpoints.cache import Progress
from vit_demo.errors import DemoError, PhotoError
from vit_demo.explanations import DEFAULT_METHOD, find_method
from vit_demo.explanations.capability import capabilities
from vit_demo.explanations.masking import Between
from vit_demo.faithfulness import ScoresVsRandom
from vit_demo.figures.overlay import LONG_SIDE
from vit_demo.figures.sheet import draw_sheet, save_figure
from vit_demo.photo import read_photo
from vit_demo.preprocess import Prepared
from vit_demo.settings import MEGABYTE
from vit_demo.ui.fair_lock import FairLock
from vit_demo.ui.legend import about, legend
from vit_demo.ui.memory import return_freed_memory
from vit_demo.ui.results import Results
from vit_demo.ui.shown import Shown
from vit_demo.ui.uploads import Uploads

# What every browser shows without help.
SHOWN_BY_BROWSERS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif"}
PREVIEW_QUALITY = 90

NO_PHOTO = "There is no photo yet; upload one or click an example."

# Gradio recognises this default and hands in the bar of the visitor who pressed Run.
NO_PROGRESS = gr.Progress()
PASSES = "Running the model with parts of the photo masked"


@dataclass(frozen=True)
class Question:
    """What the controls over the map ask for; whatever a browser sends, it is one of these.

    `method` is None for the default; `target` and `versus` are class indices, None for the
    likeliest class and for no comparison.
    """

    method: str | None = None
    target: int | None = None
    versus: int | None = None

    @classmethod
    def read(cls, method: Any = None, target: Any = None, versus: Any = None) -> "Question":
        """From the controls' values, which may be of any type."""
        return cls(
            method if isinstance(method, str) and method else None,
            _class_index(target),
            _class_index(versus),
        )


@dataclass(frozen=True, eq=False)
class ScoredMap:
    """What was measured of one map."""

    analysis: Analysis
    trust: ScoresVsRandom


@contextmanager
def toasts() -> Iterator[None]:
    """Show what a person can mend as a toast; a bug keeps its traceback."""
    try:
        yield
    except DemoError as error:
        raise gr.Error(as_html(error), print_exception=False) from error


def as_html(error: DemoError) -> str:
    """Gradio renders a toast as HTML, and names in it come from files and from the Hub."""
    return escape(str(error)).replace("\n", "<br>")


@dataclass(frozen=True)
class Handlers:
    """The events of one page; `get` gives the checkpoint behind a reference.

    One model runs at a time. Whoever waits for a checkpoint, or whose photo is being decoded,
    keeps nobody waiting.
    """

    get: Callable[[str, Progress | None], Checkpoint]
    uploads: Uploads
    results: Results
    model_lock: FairLock = field(default_factory=FairLock)

    def analyse(
        self,
        photo: str | None,
        ref: str | None,
        session: str,
        previous: str | None = None,
        question: Question | None = None,
        progress: gr.Progress = NO_PROGRESS,
    ) -> tuple[str, Shown]:
        """Run the model once and ask for everything that the page shows; the result and its token.

        What was asked about the `previous` result is asked again where it still applies.
        """

        def report(name: str, done: int, total: int) -> None:
            progress(done / max(total, 1), desc=f"Fetching {name}, {total / MEGABYTE:.0f} MB")

        def between(done: int, total: int) -> None:
            progress((done, total), desc=PASSES, unit="passes")
            self.model_lock.let_others_through()

        with toasts():
            source = self._source(photo, session)
            checkpoint = self.get((ref or "").strip(), report)
            prepared = reduced(checkpoint.preprocessing(read_photo(source)))
            asked = self._still_applies(question or Question(), previous, checkpoint)
            with self.model_lock:
                shown = _shown(PreparedPhoto(checkpoint, prepared), asked, between)
            return_freed_memory()
        return self.results.add(shown, replaces=previous), shown

    def ask(
        self, token: str | None, question: Question, progress: gr.Progress = NO_PROGRESS
    ) -> Shown:
        """Another map of the photo that is shown, by the checkpoint that classified it.

        A method that runs the model many times lets others through between its passes, and ends
        early once nobody waits for the answer.
        Raises SupersededError when the visitor has asked something else meanwhile, and DemoError
        for what cannot be asked; the result is then what it was.
        """
        shown = self.results.get(token)
        token = token or ""
        ticket = self.results.begin_question(token)
        checkpoint = self.get(shown.main.checkpoint.ref, None)

        def between(done: int, total: int) -> None:
            progress((done, total), desc=PASSES, unit="passes")
            self.model_lock.let_others_through()
            self.results.check_question(token, ticket)

        with self.model_lock:
            self.results.check_question(token, ticket)
            answer = _answer(PreparedPhoto(checkpoint, shown.prepared), question, shown, between)
        self.results.answer(token, ticket, answer)
        return answer

    def score_map(self, token: str | None) -> ScoredMap:
        """Put the map that is shown to the test."""
        with toasts():
            shown = self.results.get(token)
            checkpoint = self.get(shown.main.checkpoint.ref, None)
            with self.model_lock:
                return ScoredMap(
                    shown.main,
                    PreparedPhoto(checkpoint, shown.prepared).scores_vs_random(shown.main),
                )

    def preview(self, photo: str | None, session: str) -> str | dict[str, object]:
        """A picture of a photo that browsers cannot show, like HEIC; the model reads the photo."""
        with toasts():
            source = self._source(photo, session)
            if source.suffix.lower() in SHOWN_BY_BROWSERS:
                return gr.skip()
            picture = read_photo(source)
            picture.thumbnail((LONG_SIDE, LONG_SIDE))
            content = BytesIO()
            picture.save(content, "JPEG", quality=PREVIEW_QUALITY)
            return self.uploads.add_preview(content.getvalue(), "preview.jpg", source, session)

    def _source(self, photo: str | None, session: str) -> Path:
        if not photo:
            raise PhotoError(NO_PHOTO)
        return self.uploads.open_for(session, {"path": photo})

    def _still_applies(
        self, question: Question, previous: str | None, checkpoint: Checkpoint
    ) -> Question:
        """The method where it fits the checkpoint, the classes where it has the same labels."""
        able = {
            a.method.name for a in capabilities(checkpoint.model) if a.unsupported_reason is None
        }
        method = question.method if question.method in able else None
        try:
            before = self.results.get(previous).main.checkpoint.labels
        except PhotoError:
            return Question(method)
        if before != checkpoint.labels:
            return Question(method)
        return replace(question, method=method)


def reduced(prepared: Prepared, long_side: int = LONG_SIDE) -> Prepared:
    """The same with a photo of the size that is drawn; what the model reads stays as it is.

    A page keeps every visitor's last photo in memory, and a phone's has 36 MB.
    """
    photo = prepared.photo
    zoom = long_side / max(photo.size)
    if zoom >= 1:
        return prepared
    smaller = photo.resize((max(round(photo.width * zoom), 1), max(round(photo.height * zoom), 1)))
    across, down = smaller.width / photo.width, smaller.height / photo.height
    left, top, right, bottom = prepared.box
    box = (left * across, top * down, right * across, bottom * down)
    return replace(prepared, photo=smaller, box=box)


def _class_index(value: Any) -> int | None:
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def _shown(seen: PreparedPhoto, question: Question, between: Between) -> Shown:
    """All maps of one look, which keep neither the weights nor the flows alive."""
    main, question = _first_map(seen, question, between)
    layers = (
        seen.explain("attention", options={"layer": layer + 1}) for layer in range(seen.layers)
    )
    # Every layer's predictions are the same ones; a thousand classes, twelve times, would weigh.
    return Shown(
        main=main,
        layers=tuple(
            replace(one, predictions=main.predictions, logits=main.logits) for one in layers
        ),
        prepared=seen.prepared,
        target=question.target,
        versus=question.versus,
    )


def _first_map(
    seen: PreparedPhoto, question: Question, between: Between
) -> tuple[Analysis, Question]:
    """What the visitor had asked for before, or the default where that cannot be asked here."""
    try:
        return _explain(seen, question, between), question
    except DemoError:
        # The photo was asked about, and another map of it is worth seeing.
        return _explain(seen, Question(), between), Question()


def _explain(seen: PreparedPhoto, question: Question, between: Between) -> Analysis:
    method = find_method(question.method or DEFAULT_METHOD)
    target, versus = (question.target, question.versus) if method.class_specific else (None, None)
    return seen.explain(method.name, target, versus=versus, between=between)


def _answer(seen: PreparedPhoto, question: Question, shown: Shown, between: Between) -> Shown:
    analysis = _explain(seen, question, between)
    return replace(
        shown,
        main=replace(analysis, checkpoint=shown.main.checkpoint),
        target=question.target,
        versus=question.versus,
    )


def top_predictions(shown: Shown) -> dict[str, float]:
    """The five likeliest classes; labels that occur twice are told apart by their index."""
    best = shown.main.predictions[:TOP]
    labels = [prediction.label for prediction in best]
    return {
        p.label if labels.count(p.label) == 1 else f"{p.label} ({p.index})": p.probability
        for p in best
    }


def knowledge(shown: Shown) -> str:
    """Who answered, what it can name, and whether it is unsure."""
    return about(
        captions.source(shown.main),
        captions.known_classes(shown.main.checkpoint.labels),
        captions.unsure_note(shown.main),
    )


def patches(shown: Shown) -> Image.Image:
    """The patches that the model was given."""
    return captions.patches(shown.main)


def input_description(shown: Shown) -> str:
    """What the patches are, in numbers."""
    return f'<div class="legend"><p>{escape(captions.input_description(shown.main))}</p></div>'


def main_map(shown: Shown, smooth: bool | None = False) -> tuple[Image.Image, str]:
    """The map over the photo, and its legend."""
    drawn = captions.picture(shown.main, bool(smooth))
    return drawn.image, legend(drawn)


def layer_map(shown: Shown, layer: Any) -> tuple[Image.Image, str]:
    """Raw attention of one layer, counted from 1, and its legend."""
    drawn = captions.picture(shown.layers[layer_in_range(layer, len(shown.layers)) - 1])
    return drawn.image, legend(drawn)


def layer_in_range(layer: Any, last: int) -> int:
    """The slider's bounds are kept by the page alone, so what arrives is put in range again."""
    if not isinstance(layer, int | float) or not math.isfinite(layer):
        return last
    return min(max(int(layer), 1), last)


def slide(shown: Shown, folder: str, smooth: bool | None = False) -> str:
    """A slide of the map as PNG, in the page's own cache."""
    # In the page's own folder, which is cleaned at the next start whatever happens.
    with TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary) / "sheet.png"
        save_figure(draw_sheet(captions.sheet(shown.main, bool(smooth))), path)
        label = shown.main.predictions[0].label
        safe = "".join(letter if letter.isalnum() else "-" for letter in label)[:40]
        return save_bytes_to_cache(path.read_bytes(), f"{safe}-{shown.main.method}.png", folder)
