"""How a training run went, as one picture."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from vit_demo.figures.sheet import BAR, DOTS_PER_INCH, INK, QUIET

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
    figure.savefig(path, dpi=DOTS_PER_INCH)
