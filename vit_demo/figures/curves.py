"""How training went: one run, or several side by side."""

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

# From one line of words to the next, in heights of a line.
LINE_SPACING = 1.2

# Where a comparison ends above 100 %, so that two scores of 100 % find room there.
HEADROOM = 1.14


def save_curves(losses: Points, accuracies: Points, path: Path) -> None:
    """Loss of every step, and the share of held-out photos named rightly, over the steps."""
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.add_subplot()
    left.plot(*zip(*losses, strict=True), color=QUIET, linewidth=0.8)
    left.set_xlabel("step", color=INK)
    left.set_ylabel("training loss", color=QUIET)
    right = left.twinx()
    right.plot(*zip(*accuracies, strict=True), color=BAR, marker="o")
    right.set_ylabel("held-out photos named rightly", color=BAR)
    right.yaxis.set_major_formatter(PercentFormatter(1))
    right.set_ylim(top=1)
    for axes in (left, right):
        axes.spines["top"].set_visible(False)
    save_figure(figure, path)


def draw_comparison(accuracies: Mapping[str, Sequence[float]]) -> Figure:
    """Share of held-out photos named rightly after each epoch, one line for every run.

    Every line's last score stands at its end; no score is written over another.
    """
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (name, line), colour in zip(accuracies.items(), (BAR, QUIET, INK), strict=False):
        last = len(line)
        axes.plot(range(1, last + 1), line, color=colour, marker="o")
        axes.text(last, line[-1], f"{name} {line[-1]:.1%}", ha="right", va="bottom", color=colour)
    axes.set_xlabel("epoch", color=INK)
    axes.set_ylabel("held-out photos named rightly", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylim(0, HEADROOM)
    axes.spines[["top", "right"]].set_visible(False)
    figure.draw_without_rendering()
    _part(axes)
    return figure


def _part(axes: Axes) -> None:
    """Lift all words off the points that they belong to, and push them apart."""
    to_data = axes.transData.inverted()
    boxes = [text.get_window_extent().transformed(to_data) for text in axes.texts]
    gap = LINE_SPACING * max(box.height for box in boxes)
    wanted = [box.y0 + gap / 2 for box in boxes]
    for text, place in zip(axes.texts, spread(wanted, gap, axes.get_ylim()[1] - gap), strict=True):
        text.set_y(place)


def spread(places: Sequence[float], gap: float, highest: float) -> list[float]:
    """Places at least `gap` apart and none above `highest`, in the order of those given.

    They are pushed up where they are too close, and down again where the room above ends.
    """
    order = sorted(range(len(places)), key=lambda number: places[number])
    apart = list(places)
    for lower, upper in pairwise(order):
        apart[upper] = max(apart[upper], apart[lower] + gap)
    for above, number in enumerate(reversed(order)):
        apart[number] = min(apart[number], highest - above * gap)
    return apart
