"""Figures of tokens: their colors over the photo, one marked patch, and the depth lens.

layers   layers that the head can read
"""

from collections.abc import Sequence

from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image, ImageDraw
from torch import Tensor

from vit_demo.figures.overlay import Box
from vit_demo.figures.sheet import INK, QUIET

WIDTH, HEIGHT = 9.6, 4.8
COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
GREY = "#e4e7ec"
MARK = (255, 230, 0)

# Width of the frame around a patch, as a fraction of the photo's longer side.
MARK_WIDTH = 0.006


def mark_patch(
    photo: Image.Image, box: Box, grid: tuple[int, int], patch: tuple[int, int]
) -> Image.Image:
    """A copy of the photo with a frame around one patch (row, column) of the grid inside `box`."""
    left, top, right, bottom = box
    (rows, cols), (row, col) = grid, patch
    across, down = (right - left) / cols, (bottom - top) / rows
    corner = left + col * across, top + row * down
    marked = photo.copy()
    width = max(2, round(MARK_WIDTH * max(photo.size)))
    frame = (*corner, corner[0] + across, corner[1] + down)
    ImageDraw.Draw(marked).rectangle(frame, outline=MARK, width=width)
    return marked


def draw_token_colors(photo: Image.Image, colored: Image.Image, title: str, caption: str) -> Figure:
    """The photo and the colors of its tokens, side by side."""
    figure = _figure(title, caption)
    for number, picture in enumerate((photo, colored), start=1):
        axes = figure.add_subplot(1, 2, number)
        axes.imshow(picture)
        axes.set_axis_off()
    return figure


def draw_depth_lens(
    layers: Sequence[int],
    classes: Sequence[str],
    probabilities: Float[Tensor, "layers classes"],
    depends: Sequence[bool],
    title: str,
    caption: str,
) -> Figure:
    """One line per class over the layers; layers that do not depend on the photo are gray."""
    figure = _figure(title, caption)
    axes = figure.add_subplot()
    for layer, differs in zip(layers, depends, strict=True):
        if not differs:
            axes.axvspan(layer - 0.5, layer + 0.5, color=GREY, linewidth=0, zorder=0)
    for number, label in enumerate(classes):
        color = COLORS[number % len(COLORS)]
        axes.plot(layers, probabilities[:, number], marker="o", color=color, label=label)
    axes.set(xlim=(layers[0] - 0.5, layers[-1] + 0.5), ylim=(0, 1.02))
    axes.set_xlabel("the head reads the tokens after layer", color=QUIET)
    axes.set_ylabel("probability", color=QUIET)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.spines[["top", "right"]].set_visible(False)
    # Labels come from the checkpoint and must not be parsed as math text.
    for text in figure.legend(loc="outside right upper", frameon=False).get_texts():
        text.set_parse_math(False)
    return figure


def _figure(title: str, caption: str) -> Figure:
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=13, color=INK, parse_math=False)
    figure.supxlabel(caption, fontsize=8, color=QUIET, wrap=True, parse_math=False)
    return figure
