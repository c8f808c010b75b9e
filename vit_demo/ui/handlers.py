"""What the page's events do: translate to and from `analysis`, and nothing more."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from PIL import Image

from vit_demo import present
from vit_demo.analysis import TOP, Analysis, Look, look
from vit_demo.checkpoints import Checkpoint
from vit_demo.checkpoints.cache import Progress
from vit_demo.errors import DemoError, MethodError, PhotoError
from vit_demo.explanations import DEFAULT_METHOD, find_method
from vit_demo.explanations.capability import capabilities
from vit_demo.faithfulness import Trust
from vit_demo.figures.sheet import save_sheet
from vit_demo.photo import read_photo
from vit_demo.settings import MEGABYTE
from vit_demo.ui.legend import about, legend

# What every browser shows without help.
SHOWN_BY_BROWSERS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif"}


# The most faithful of the maps that are quick to draw; the README tells how it was chosen.
FIRST_MAP = "relevance"

# Gradio recognises this default and hands in the bar of the visitor who pressed Run.
NO_PROGRESS = gr.Progress()


@dataclass(frozen=True, eq=False)
class Shown:
    """What one visitor is looking at: the map, and the raw attention of every layer."""

    main: Analysis
    layers: tuple[Analysis, ...]


@dataclass(frozen=True, eq=False)
class Judged:
    """What was measured of one map."""

    analysis: Analysis
    trust: Trust


@contextmanager
def toasts() -> Iterator[None]:
    """Show what a person can mend as a toast; a bug keeps its traceback."""
    try:
        yield
    except DemoError as error:
        # Gradio renders the message as HTML, and names in it come from files and from the Hub.
        message = escape(str(error)).replace("\n", "<br>")
        raise gr.Error(message, print_exception=False) from error


@dataclass(frozen=True)
class Handlers:
    """The events of one page; `get` gives the checkpoint behind a reference.

    One photo is looked at at a time; whose checkpoint is still being fetched keeps nobody waiting.
    """

    get: Callable[[str, Progress | None], Checkpoint]
    turn: Lock = field(default_factory=Lock)

    def analyse(
        self, photo: str | None, ref: str | None, progress: gr.Progress = NO_PROGRESS
    ) -> Shown:
        """Run the model once and ask for everything that the page shows."""

        def report(name: str, done: int, total: int) -> None:
            progress(done / max(total, 1), desc=f"Fetching {name}, {total / MEGABYTE:.0f} MB")

        with toasts():
            if not photo:
                raise PhotoError("There is no photo yet; upload one or click an example.")
            checkpoint = self.get((ref or "").strip(), report)
            with self.turn:
                return _shown(look(checkpoint, Path(photo)))

    def ask(
        self, shown: Shown | None, method: str | None, target: str | None, versus: str | None
    ) -> Shown:
        """Another map of the photo that is shown, by the checkpoint that named it.

        `target` and `versus` are indices of classes, and count where the method asks for them.
        """
        with toasts():
            shown = _there(shown)
            chosen = find_method(method or DEFAULT_METHOD)
            asks = (target, versus) if chosen.class_specific else (None, None)
            # As numbers: a class may be called by another one's number.
            classes = [int(text) if text and text.isdecimal() else text or None for text in asks]
            checkpoint = self.get(shown.main.checkpoint.ref, None)
            with self.turn:
                seen = look(checkpoint, shown.main.photo)
                asked = seen.explain(chosen.name, classes[0], versus=classes[1])
            return replace(shown, main=replace(asked, checkpoint=shown.main.checkpoint))

    def judge(self, shown: Shown | None) -> Judged:
        """Put the map that is shown to the test."""
        with toasts():
            main = _there(shown).main
            checkpoint = self.get(main.checkpoint.ref, None)
            with self.turn:
                return Judged(main, look(checkpoint, main.photo).trust(main))

    def preview(self, photo: str | None) -> Image.Image | dict[str, object]:
        """Turn a photo that browsers cannot show, like HEIC, into one that they can."""
        if not photo or Path(photo).suffix.lower() in SHOWN_BY_BROWSERS:
            return gr.skip()
        with toasts():
            # In full, and kept without loss: the model is to read what it would read from the file.
            return read_photo(Path(photo))


def _there(shown: Shown | None) -> Shown:
    if shown is None:
        raise PhotoError("There is no result yet; press Run first.")
    return shown


def first_map(seen: Look) -> Analysis:
    """The map to begin with: FIRST_MAP, or the usual one where it does not fit or shows nothing."""
    able = {able.method.name: able for able in capabilities(seen.checkpoint.model)}
    if able[FIRST_MAP].why_not is None:
        try:
            return seen.explain(FIRST_MAP)
        except MethodError:
            # No patch has any weight. Another map is still worth seeing; the photo was asked about.
            return seen.explain()
    return seen.explain()


def _shown(seen: Look) -> Shown:
    """All maps of one look, which keep neither the weights nor the flows alive."""
    hollow = seen.checkpoint.hollow
    layers = (
        seen.explain("attention", options={"layer": layer + 1}) for layer in range(seen.layers)
    )
    return Shown(
        main=replace(first_map(seen), checkpoint=hollow),
        layers=tuple(replace(analysis, checkpoint=hollow) for analysis in layers),
    )


def likeliest(shown: Shown) -> dict[str, float]:
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
        present.source(shown.main),
        present.knows(shown.main.checkpoint.labels),
        present.doubt(shown.main),
    )


def patches(shown: Shown) -> Image.Image:
    """The patches that the model was given."""
    return present.patches(shown.main)


def reading(shown: Shown) -> str:
    """What the patches are, in numbers."""
    return f'<div class="legend"><p>{escape(present.reading(shown.main))}</p></div>'


def main_map(shown: Shown, smooth: bool | None = False) -> tuple[Image.Image, str]:
    """The map over the photo, and its legend."""
    drawn = present.picture(shown.main, bool(smooth))
    return drawn.image, legend(drawn)


def layer_map(
    shown: Shown | None, layer: int | float | None
) -> tuple[Image.Image, str] | tuple[dict, dict]:
    """Raw attention of one layer, counted from 1, and its legend."""
    if shown is None or layer is None:
        return gr.skip(), gr.skip()
    # The slider's bounds are kept by the page alone, so what arrives is put in range again.
    place = min(max(int(layer), 1), len(shown.layers)) - 1
    drawn = present.picture(shown.layers[place])
    return drawn.image, legend(drawn)


def redrawn(
    shown: Shown | None, smooth: bool | None
) -> tuple[Image.Image, str] | tuple[dict, dict]:
    """The map that is in sight, smooth or patch by patch; nothing before there is one."""
    return (gr.skip(), gr.skip()) if shown is None else main_map(shown, smooth)


def download(shown: Shown, folder: str, smooth: bool | None = False) -> str:
    """A slide of the map as PNG, in the page's own cache."""
    with TemporaryDirectory() as temporary:
        path = Path(temporary) / "sheet.png"
        save_sheet(present.sheet(shown.main, bool(smooth)), path)
        label = shown.main.predictions[0].label
        safe = "".join(letter if letter.isalnum() else "-" for letter in label)[:40]
        return save_bytes_to_cache(path.read_bytes(), f"{safe}-{shown.main.method}.png", folder)
