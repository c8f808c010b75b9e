"""Training curves: one run, or several for comparison."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vit_demo.figures.sheet import BAR, INK, QUIET, save_figure

Points = Sequence[tuple[int, float]]

WIDTH_INCHES, HEIGHT_INCHES = 7.2, 4.0

# Distance between two lines of text, in heights of a line.
LINE_SPACING = 1.2

# The top of the comparison's y-axis, above 100 %, so that the labels of two perfect scores fit.
HEADROOM = 1.14


def save_curves(losses: Points, accuracies: Points, path: Path) -> None:
    """Plot the training loss and the held-out accuracy over the steps."""
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.add_subplot()
    left.plot(*zip(*losses, strict=True), color=QUIET, linewidth=0.8)
    left.set_xlabel("step", color=INK)
    left.set_ylabel("training loss", color=QUIET)
    right = left.twinx()
    right.plot(*zip(*accuracies, strict=True), color=BAR, marker="o")
    right.set_ylabel("held-out accuracy", color=BAR)
    right.yaxis.set_major_formatter(PercentFormatter(1))
    right.set_ylim(top=1)
    for axes in (left, right):
        axes.spines["top"].set_visible(False)
    save_figure(figure, path)


def draw_comparison(accuracies: Mapping[str, Sequence[float]]) -> Figure:
    """Held-out accuracy after each epoch, one line per run.

    The last accuracy is written at the end of each line, without overlaps.
    """
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (name, line), colour in zip(accuracies.items(), (BAR, QUIET, INK), strict=False):
        last = len(line)
        axes.plot(range(1, last + 1), line, color=colour, marker="o")
        axes.text(last, line[-1], f"{name} {line[-1]:.1%}", ha="right", va="bottom", color=colour)
    axes.set_xlabel("epoch", color=INK)
    axes.set_ylabel("held-out accuracy", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylim(0, HEADROOM)
    axes.spines[["top", "right"]].set_visible(False)
    figure.draw_without_rendering()
    _separate_labels(axes)
    return figure


def _separate_labels(axes: Axes) -> None:
    """Move all labels above their points and away from each other."""
    to_data = axes.transData.inverted()
    boxes = [text.get_window_extent().transformed(to_data) for text in axes.texts]
    gap = LINE_SPACING * max(box.height for box in boxes)
    above = [box.y0 + gap / 2 for box in boxes]
    for text, y in zip(axes.texts, spread(above, gap, axes.get_ylim()[1] - gap), strict=True):
        text.set_y(y)


def spread(positions: Sequence[float], gap: float, highest: float) -> list[float]:
    """Move positions so that they differ by at least `gap` and none exceeds `highest`.

    Positions that are too close are pushed up, then down again from `highest`.
    """
    order = sorted(range(len(positions)), key=lambda number: positions[number])
    spaced = list(positions)
    for lower, upper in pairwise(order):
        spaced[upper] = max(spaced[upper], spaced[lower] + gap)
    for above, number in enumerate(reversed(order)):
        spaced[number] = min(spaced[number], highest - above * gap)
    return spaced
