"""A self-explanatory slide: the photo, the map with its color bar, and the top classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from vit_demo.errors import OutputError
from vit_demo.figures.colour import ColourScale
from vit_demo.figures.fonts import add_fallback_fonts

# A 16:9 slide; at this density a PNG is 1920 × 1080.
WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 12.8, 7.2, 150

# In fractions of the sheet's width and height; the caption is wrapped after LINE characters.
LEFT, TOP, GAP, PICTURE_WIDTH, PICTURE_HEIGHT = 0.03, 0.84, 0.025, 0.36, 0.61
LINE = 150

# Minimum width of the color bar, so that its tick labels do not overlap.
NARROWEST_BAR = 0.24

INK, QUIET, BAR = "#1f2430", "#667085", "#c2410c"


@dataclass(frozen=True)
class Sheet:
    """The texts and pictures of a sheet.

    `percent` says whether the map's values are shares, `class_percent` whether those of the
    classes are; other values have no bar.
    """

    title: str
    caption: str
    unit: str
    photo: Image.Image
    overlay: Image.Image
    scale: ColourScale
    classes: Sequence[tuple[str, float]]
    percent: bool = True
    class_percent: bool = True


def draw_sheet(sheet: Sheet) -> Figure:
    """Draw the sheet."""
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), facecolor="white")
    FigureCanvasAgg(figure)
    width, height = _picture_size(sheet.photo)
    _draw_picture(figure.add_axes((LEFT, TOP - height, width, height)), sheet.photo)
    second = LEFT + PICTURE_WIDTH + GAP
    _draw_picture(figure.add_axes((second, TOP - height, width, height)), sheet.overlay)
    bar = figure.add_axes((second, TOP - height - 0.03, max(width, NARROWEST_BAR), 0.018))
    _draw_colour_bar(figure, bar, sheet)
    third = second + PICTURE_WIDTH + GAP
    third_axes = figure.add_axes((third, TOP - 0.58, 1 - LEFT - third, 0.58))
    _draw_classes(third_axes, sheet.classes, sheet.class_percent)
    figure.text(LEFT, 0.9, sheet.title, fontsize=20, color=INK, weight="bold", parse_math=False)
    lines = [line for part in sheet.caption.splitlines() for line in wrap(part, LINE) or [""]]
    figure.text(LEFT, 0.03, "\n".join(lines), fontsize=10, color=QUIET, parse_math=False)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the file's suffix; OutputError if it cannot be written."""
    add_fallback_fonts(figure)
    try:
        figure.savefig(path, dpi=DOTS_PER_INCH)
    except OSError as error:
        raise OutputError(
            f"'{path}' cannot be written ({error.strerror}); name a folder that exists."
        ) from error


def _picture_size(photo: Image.Image) -> tuple[float, float]:
    """Width and height of a picture on the sheet, as large as possible."""
    slide = WIDTH_INCHES / HEIGHT_INCHES
    height = PICTURE_WIDTH * slide * photo.height / photo.width
    if height <= PICTURE_HEIGHT:
        return PICTURE_WIDTH, height
    return PICTURE_HEIGHT / slide * photo.width / photo.height, PICTURE_HEIGHT


def _draw_picture(axes: Axes, picture: Image.Image) -> None:
    axes.imshow(picture, aspect="auto")
    axes.set_axis_off()


def _draw_colour_bar(figure: Figure, axes: Axes, sheet: Sheet) -> None:
    scale = sheet.scale
    colours = ScalarMappable(Normalize(scale.low, scale.high), scale.colormap)
    bar = figure.colorbar(
        colours,
        cax=axes,
        orientation="horizontal",
        extend="both" if scale.signed else "max",
        format="{x:.2%}" if sheet.percent else "{x:.3g}",
        ticks=MaxNLocator(5),
    )
    bar.ax.tick_params(labelsize=9, colors=QUIET)
    bar.set_label(sheet.unit, fontsize=9.5, color=QUIET)
    bar.outline.set_visible(False)


def _draw_classes(axes: Axes, classes: Sequence[tuple[str, float]], percent: bool) -> None:
    rows = range(len(classes))
    if percent:
        axes.barh(rows, [probability for _, probability in classes], height=0.28, color=BAR)
        axes.barh(rows, [1] * len(classes), height=0.28, color="#eef0f3", zorder=0)
    for row, (label, value) in zip(rows, classes, strict=True):
        axes.text(0, row - 0.25, label, fontsize=12, color=INK, parse_math=False)
        number = f"{value:.1%}" if percent else f"{value:.4g}"
        axes.text(1, row - 0.25, number, fontsize=12, color=INK, ha="right")
    axes.set(xlim=(0, 1), ylim=(max(5, len(classes)) - 0.8, -0.45))
    axes.set_axis_off()
