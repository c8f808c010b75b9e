"""How a training run went, as one picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vit_demo.figures.sheet import BAR, INK, QUIET, save_figure

Points = Sequence[tuple[int, float]]

WIDTH_INCHES, HEIGHT_INCHES = 7.2, 4.0


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


def save_comparison(accuracies: Mapping[str, Sequence[float]], path: Path) -> None:
    """Share of held-out photos named rightly after each epoch, one line for every run."""
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (name, line), colour in zip(accuracies.items(), (BAR, QUIET, INK), strict=False):
        epochs = range(1, len(line) + 1)
        axes.plot(epochs, line, color=colour, marker="o")
        axes.annotate(
            f"{name} {line[-1]:.1%}",
            (len(line), line[-1]),
            xytext=(0, 9),
            textcoords="offset points",
            ha="right",
            color=colour,
        )
    axes.set_xlabel("epoch", color=INK)
    axes.set_ylabel("held-out photos named rightly", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylim(0, 1.08)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
