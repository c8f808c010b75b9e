"""The faithfulness figure: deletion and insertion curves, SaCo, and the randomization test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from vit_demo.figures.sheet import INK, QUIET

PANEL_WIDTH, HEIGHT = 4.6, 3.6

# An even number of panels is arranged in two columns, an odd one in three.
PAIR, ROW = 2, 3

# The color-blind safe palette of Okabe & Ito; noise is always gray and dashed.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


@dataclass(frozen=True)
class Style:
    """How one method is drawn, in every panel."""

    colour: str
    line: str = "-"


@dataclass(frozen=True)
class Lines:
    """A panel of curves, by method."""

    title: str
    across: str
    up: str
    lines: Mapping[str, Float[Tensor, "2 points"]]


@dataclass(frozen=True)
class Steps:
    """A panel of values at named steps, by method; None for a missing value."""

    title: str
    up: str
    places: Sequence[str]
    lines: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Spans:
    """A panel of means with their intervals, by method."""

    title: str
    across: str
    spans: Mapping[str, tuple[float, tuple[float, float]]]


Panel = Lines | Steps | Spans


def draw_faithfulness(panels: Sequence[Panel], noise: str) -> Figure:
    """Draw all panels; a method has the same color in each, and `noise` is gray."""
    across = min(len(panels), ROW if len(panels) % PAIR else PAIR)
    down = math.ceil(len(panels) / across)
    size = (PANEL_WIDTH * across, HEIGHT * down)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    styles = _styles(panels, noise)
    for number, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(down, across, number)
        match panel:
            case Lines():
                _draw_lines(axes, panel, styles)
            case Steps():
                _draw_steps(axes, panel, styles)
            case Spans():
                _draw_spans(axes, panel, styles)
        axes.set_title(panel.title, fontsize=10, color=INK, parse_math=False)
        axes.tick_params(colors=QUIET, labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def _styles(panels: Sequence[Panel], noise: str) -> dict[str, Style]:
    names: dict[str, None] = {}
    for panel in panels:
        names |= dict.fromkeys(panel.spans if isinstance(panel, Spans) else panel.lines)
    others = (name for name in names if name != noise)
    styles = {name: Style(COLOURS[number % len(COLOURS)]) for number, name in enumerate(others)}
    return {**styles, noise: Style(QUIET, "--")}


def _draw_lines(axes: Axes, panel: Lines, styles: Mapping[str, Style]) -> None:
    for name, (shares, values) in panel.lines.items():
        style = styles[name]
        axes.plot(shares, values, label=name, color=style.colour, linestyle=style.line)
    axes.set(xlabel=panel.across, ylabel=panel.up, ylim=(0, 1))
    axes.xaxis.set_major_formatter(PercentFormatter(1))


def _draw_steps(axes: Axes, panel: Steps, styles: Mapping[str, Style]) -> None:
    for name, values in panel.lines.items():
        known = [float("nan") if value is None else value for value in values]
        axes.plot(known, label=name, marker="o", markersize=3, color=styles[name].colour)
    axes.set_xticks(range(len(panel.places)), panel.places, rotation=90)
    axes.set(ylabel=panel.up, ylim=(-1, 1.05))


def _draw_spans(axes: Axes, panel: Spans, styles: Mapping[str, Style]) -> None:
    for y, (name, (mean, (low, high))) in enumerate(panel.spans.items()):
        colour = styles[name].colour
        axes.plot((low, high), (y, y), color=colour, linewidth=3, alpha=0.5)
        axes.plot(mean, y, marker="o", color=colour)
    axes.axvline(0, color=QUIET, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(panel.spans)), list(panel.spans))
    axes.invert_yaxis()
    axes.set(xlabel=panel.across)
