"""The page's event handlers: they convert between Gradio and `analysis`, and nothing more."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from html import escape
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from torch import Tensor

from vit_demo import captions
from vit_demo.analysis import Analysis, PreparedPhoto, example_lenses
from vit_demo.checkpoints import DEFAULT, Checkpoint
from vit_demo.checkpoints.cache import Progress
from vit_demo.errors import DemoError, MethodError, OptionError, PhotoError
from vit_demo.explanations import DEFAULT_METHOD, TracedPass, find_method
from vit_demo.explanations.attention import EVERY_HEAD
from vit_demo.explanations.masking import Between
from vit_demo.explanations.queries import all_rollouts
from vit_demo.explanations.similarity import all_similarities, token_colors
from vit_demo.faithfulness import AUTOMATIC_STEPS, QUICK_STEPS
from vit_demo.figures.overlay import LONG_SIDE
from vit_demo.figures.sheet import draw_sheet, save_figure
from vit_demo.models.base import Classifier
from vit_demo.photo import read_photo
from vit_demo.preprocess import Prepared
from vit_demo.settings import MEGABYTE
from vit_demo.ui.explorer.lens import lens_data
from vit_demo.ui.explorer.payload import (
    MOST_CLASSES,
    colours_view,
    explorer_data,
    layer_rows,
    map_view,
    pairs_view,
    patch_rows,
    rows_view,
    trust_data,
)
from vit_demo.ui.explorer.rows import Rows
from vit_demo.ui.explorer.words import DEFAULT_LANGUAGE
from vit_demo.ui.fair_lock import FairLock
from vit_demo.ui.languages import error_html, in_every_language, say, sentence
from vit_demo.ui.memory import return_freed_memory
from vit_demo.ui.results import Results, SupersededError
from vit_demo.ui.shown import Shown
from vit_demo.ui.uploads import Uploads

# Image formats that every browser can show.
SHOWN_BY_BROWSERS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif"}
PREVIEW_QUALITY = 90

# Maximum number of labels in the line about a checkpoint; the explorer's menus have more.
MOST_LABELS = 12

NO_PHOTO = "There is no photo yet; upload one or click an example."
NO_MAP = "This view has no map that can be used here; choose a map, such as attention rollout."

# The automatic test: its time limit, the approximate model passes per step of its curves, and the
# passes after which the total time is estimated.
AUTOMATIC_SECONDS, PASSES_PER_STEP, LEAST_PASSES = 30.0, 5, 3

# Limits for values in an event of a browser.
LONGEST_NAME, MOST = 100, 1_000_000

# Gradio recognizes this default and passes the progress bar of the visitor who pressed Run.
NO_PROGRESS = gr.Progress()


class Patience:
    """A time limit for a task with a known number of model passes; waiting does not count."""

    def __init__(self, seconds: float, passes: int) -> None:
        self._most = seconds / passes
        self._spent, self._passes, self._since = 0.0, 0, 0.0

    def go_on(self) -> None:
        """Start the clock before a model pass."""
        self._since = monotonic()

    def passed(self) -> None:
        """Stop the clock after a pass; raises SupersededError if all passes would take too long."""
        self._spent += monotonic() - self._since
        self._passes += 1
        if self._passes >= LEAST_PASSES and self._spent / self._passes > self._most:
            raise SupersededError


@dataclass(frozen=True)
class Question:
    """The view that the explorer requests; invalid values from a browser become defaults.

    `view` is None for the default map; `target` and `versus` are class indices, None for the top
    class and for no comparison. `layer` counts from 1. `head` counts from 1; 0 is the mean of the
    heads.
    """

    view: str | None = None
    target: int | None = None
    versus: int | None = None
    layer: int = -1
    head: int = EVERY_HEAD

    @classmethod
    def read(cls, content: Any) -> "Question":
        """Parse an event of the browser; the content is untrusted."""
        content = content if isinstance(content, dict) else {}
        view = content.get("view")
        return cls(
            view if isinstance(view, str) and 0 < len(view) <= LONGEST_NAME else None,
            whole_number(content.get("target")),
            whole_number(content.get("versus")),
            whole_number(content.get("layer")) or -1,
            whole_number(content.get("head")) or EVERY_HEAD,
        )


def whole_number(value: Any) -> int | None:
    """A valid class, layer, row or column number, or None."""
    usable = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST
    return value if usable else None


@contextmanager
def toasts() -> Iterator[None]:
    """Show user errors as a toast; other exceptions keep their traceback."""
    try:
        yield
    except DemoError as error:
        raise gr.Error(error_html(error), print_exception=False) from error


def warn(error: DemoError) -> None:
    """Show an error as a toast, and continue."""
    gr.Warning(error_html(error))


@dataclass(frozen=True)
class Handlers:
    """The event handlers of one page; `get` loads the checkpoint of a reference.

    One model runs at a time. Loading a checkpoint or decoding a photo does not hold the model lock.
    """

    get: Callable[[str, Progress | None], Checkpoint]
    uploads: Uploads
    results: Results
    rows: Rows
    examples: Mapping[str, Path] = field(default_factory=dict)
    model_lock: FairLock = field(default_factory=FairLock)
    example_lock: Lock = field(default_factory=Lock)
    # For every model in memory, the head's output after each layer for the example photos.
    lenses: WeakKeyDictionary[Classifier, Tensor] = field(default_factory=WeakKeyDictionary)

    def analyse(
        self,
        photo: str | None,
        ref: str | None,
        session: str,
        previous: str | None = None,
        progress: gr.Progress = NO_PROGRESS,
        language: str = DEFAULT_LANGUAGE,
    ) -> tuple[str, Shown, dict[str, Any]]:
        """Run the model once; returns the token, the result, and the explorer's first data.

        `language` is used for the progress bar.
        """

        def report(name: str, done: int, total: int) -> None:
            size = f"{total / MEGABYTE:.0f}"
            fetching = say(language, "page.fetching", name=name, size=size)
            progress(done / max(total, 1), desc=fetching)

        for token in (previous, *(example_token(name, session) for name in self.examples)):
            self.results.end_background(token)
        with toasts():
            source = self._source(photo, session)
            shown, data = self._run(source, self.get((ref or "").strip(), report))
        return self.results.add(shown, replaces=previous), shown, data

    def token_of_example(self, name: object, session: str) -> str | None:
        """The token of this session's own result for an example; None if it is not an example.

        The explorer shows an example from a file, without a result. The model runs at the first
        request about it.
        """
        if not isinstance(name, str) or name not in self.examples:
            return None
        token = example_token(name, session)
        with self.example_lock, toasts():
            if not self.results.has(token):
                shown, _ = self._run(self.examples[name], self.get(DEFAULT, None))
                self.results.keep(token, shown)
        return token

    def _run(self, photo: Path, checkpoint: Checkpoint) -> tuple[Shown, dict[str, Any]]:
        prepared = PreparedPhoto(checkpoint, reduced(checkpoint.preprocessing(read_photo(photo))))
        with self.model_lock:
            main = prepared.explain(DEFAULT_METHOD)
        data = explorer_data(prepared.traced, [main])
        shown = Shown(main, prepared.prepared, {main.method: main})
        del prepared
        return_freed_memory()
        return shown, data

    def ask(
        self,
        token: str | None,
        question: Question,
        progress: gr.Progress = NO_PROGRESS,
        language: str = DEFAULT_LANGUAGE,
    ) -> dict[str, Any]:
        """Compute another view of the current photo with the same checkpoint.

        A method with many model passes releases the lock between passes and stops early if its
        answer is no longer needed. Raises SupersededError if the visitor has started another
        request, and DemoError for an invalid request; the result then stays unchanged.
        """
        shown = self.results.get(token)
        token = token or ""
        ticket = self.results.begin_question(token)

        def between(done: int, total: int) -> None:
            progress((done, total), desc=say(language, "page.passes"))
            self.model_lock.let_others_through()
            self.results.check_question(token, ticket)

        if make := TOKEN_VIEWS.get(question.view or ""):
            return make(self._traced(shown, lambda: self.results.check_question(token, ticket)))
        prepared = self._prepared_photo(shown)
        with self.model_lock:
            self.results.check_question(token, ticket)
            analysis = _explain(prepared, question, between)
        self.results.answer(token, ticket, shown.with_map(analysis))
        return map_view(analysis, question.target)

    def score_map(
        self, token: str | None, view: str | None, automatic: bool = False
    ) -> dict[str, Any]:
        """Test the faithfulness of a view's map against a random map.

        It releases the lock between passes. The `automatic` form has fewer steps and stops if it
        would take too long. Raises SupersededError in that case, and if the visitor has pressed Run
        or started another test.
        """
        with toasts():
            shown = self.results.get(token)
            analysis = shown.maps.get(view or "")
            if analysis is None:
                raise MethodError(NO_MAP)
            token = token or ""
            ticket = self.results.begin_background(token, "test")
            steps = AUTOMATIC_STEPS if automatic else QUICK_STEPS
            patience = Patience(AUTOMATIC_SECONDS, PASSES_PER_STEP * steps) if automatic else None

            def between(done: int, total: int) -> None:
                del done, total
                if patience is not None:
                    patience.passed()
                self.model_lock.let_others_through()
                self.results.check_background(token, "test", ticket)
                if patience is not None:
                    patience.go_on()

            prepared = self._prepared_photo(shown)
            with self.model_lock:
                self.results.check_background(token, "test", ticket)
                if patience is not None:
                    patience.go_on()
                return trust_data(prepared.scores_vs_random(analysis, steps, between), analysis)

    def lens(self, token: str | None) -> dict[str, Any]:
        """Compute the depth lens; it releases the lock between the passes over the examples.

        Raises SupersededError if the visitor has pressed Run, DemoError if there is no lens.
        """
        shown = self.results.get(token)
        token = token or ""
        ticket = self.results.begin_background(token, "lens")

        def between(done: int, total: int) -> None:
            del done, total
            self.model_lock.let_others_through()
            self.results.check_background(token, "lens", ticket)

        prepared = self._prepared_photo(shown)
        model = prepared.checkpoint.model
        with self.model_lock:
            between(0, 0)
            if model not in self.lenses:
                self.lenses[model] = example_lenses(prepared.checkpoint, between)
            return lens_data(prepared.traced, shown.main, self.lenses[model], MOST_CLASSES)

    def layer(self, token: str | None, layer: int | None) -> str:
        """Attention of every patch in one layer, as JSON text."""
        with toasts():
            rows = self.rows.get(token)
            if rows is None:
                shown = self.results.get(token)
                traced = self._traced(shown)
                rows = tuple(
                    json.dumps(layer_rows(traced, number + 1))
                    for number in range(len(traced.trace.layers))
                )
                self.rows.add(token or "", rows)
            if layer is None or not 1 <= layer <= len(rows):
                raise OptionError(
                    f"There is no layer {layer}; this checkpoint has 1 to {len(rows)}."
                )
            return rows[layer - 1]

    def patch(self, token: str | None, layer: int | None, row: int | None, col: int | None) -> str:
        """Attention of one patch in one layer, as JSON text."""
        with toasts():
            if layer is None or row is None or col is None:
                raise OptionError("Layer, row and column of the patch are missing; click a patch.")
            traced = self._traced(self.results.get(token))
            return json.dumps(patch_rows(traced, layer, (row, col)))

    def slide(
        self, token: str | None, question: Question, folder: str, smooth: bool = False
    ) -> str:
        """Save a slide of one view's map as PNG in the page's own cache."""
        with toasts():
            shown = self.results.get(token)
            analysis = shown.maps.get(question.view or "")
            if question.view == "attention":
                options = {"layer": question.layer, "head": question.head}
                prepared = self._prepared_photo(shown)
                with self.model_lock:
                    analysis = prepared.explain("attention", options=options)
            if analysis is None:
                raise MethodError(NO_MAP)
            return _slide(analysis, folder, smooth)

    def _prepared_photo(self, shown: Shown) -> PreparedPhoto:
        return PreparedPhoto(self.get(shown.main.checkpoint.ref, None), shown.prepared)

    def _traced(self, shown: Shown, check: Callable[[], None] = lambda: None) -> TracedPass:
        prepared = self._prepared_photo(shown)
        with self.model_lock:
            check()
            return prepared.traced

    def preview(self, photo: str | None, session: str) -> str | dict[str, object]:
        """Check a photo right after the upload; a toast says why it cannot be read.

        For a format that browsers cannot show, such as HEIC, it returns a preview. The model reads
        the original photo.
        """
        with toasts():
            source = self._source(photo, session)
            picture = read_photo(source)
            if source.suffix.lower() in SHOWN_BY_BROWSERS:
                return gr.skip()
            picture.thumbnail((LONG_SIDE, LONG_SIDE))
            content = BytesIO()
            picture.save(content, "JPEG", quality=PREVIEW_QUALITY)
            return self.uploads.add_preview(content.getvalue(), "preview.jpg", source, session)

    def _source(self, photo: str | None, session: str) -> Path:
        if not photo:
            raise PhotoError(NO_PHOTO)
        return self.uploads.open_for(session, {"path": photo})


def example_token(name: str, session: str) -> str:
    """The token of a session's own result for an example."""
    return f"example {name} {session}"


def reduced(prepared: Prepared, long_side: int = LONG_SIDE) -> Prepared:
    """Shrink the photo to the size that is drawn; the model's input stays unchanged.

    The page keeps every visitor's last photo in memory, and a phone's photo takes 36 MB.
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


def _looks_like(traced: TracedPass) -> dict[str, Any]:
    return pairs_view("looks_like", all_similarities(traced), "unit.cosine")


def _through_depth(traced: TracedPass) -> dict[str, Any]:
    exact = traced.model.exact_flows
    return rows_view("through_depth", all_rollouts(traced), traced.grid, exact)


def _token_colours(traced: TracedPass) -> dict[str, Any]:
    return colours_view("token_colours", token_colors(traced)[0])


# Views that relate one token to the others; they do not belong to a method.
TOKEN_VIEWS: Mapping[str, Callable[[TracedPass], dict[str, Any]]] = {
    "through_depth": _through_depth,
    "looks_like": _looks_like,
    "token_colours": _token_colours,
}


def _explain(prepared: PreparedPhoto, question: Question, between: Between) -> Analysis:
    method = find_method(question.view or DEFAULT_METHOD)
    target, versus = (question.target, question.versus) if method.class_specific else (None, None)
    return prepared.explain(method.name, target, versus=versus, between=between)


def knowledge(shown: Shown) -> str:
    """The checkpoint, the classes it knows, and whether it is unsure, as HTML."""
    main = shown.main
    threshold = main.checkpoint.calibration.unsure_below
    unsure = ""
    if threshold is not None and main.unsure:
        best = main.predictions[0].written()
        note = sentence("page.unsure", probability=best, threshold=f"{threshold:.0%}")
        unsure = f'<p class="unsure">{note}</p>'

    def about(language: str) -> str:
        checkpoint, labels = main.checkpoint, main.checkpoint.labels
        source = say(
            language,
            "page.source.revision" if checkpoint.revision else "page.source",
            ref=checkpoint.ref,
            revision=checkpoint.revision,
            architecture=checkpoint.architecture,
        )
        listed = ", ".join(labels[:MOST_LABELS]) + (", …" if len(labels) > MOST_LABELS else "")
        known = say(language, "page.known", count=len(labels), labels=listed)
        return f"<b>{escape(source)}</b><br>{escape(known)}"

    notes = (*captions.reading_notes(main.checkpoint), captions.problem_note(main))
    read = "".join(f'<p class="reading">{error_html(note)}</p>' for note in notes if note)
    return f'{unsure}<p class="about">{in_every_language(about)}</p>{read}'


def _slide(analysis: Analysis, folder: str, smooth: bool) -> str:
    # In the page's own folder, which the next start cleans up even after a crash.
    with TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary) / "sheet.png"
        save_figure(draw_sheet(captions.sheet(analysis, smooth)), path)
        label = analysis.predictions[0].label
        safe = "".join(letter if letter.isalnum() else "-" for letter in label)[:40]
        return save_bytes_to_cache(path.read_bytes(), f"{safe}-{analysis.method}.png", folder)
