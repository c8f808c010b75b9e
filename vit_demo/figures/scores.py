"""Evaluation figures: confusion matrix, reliability diagrams and contact sheets of photos."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from vit_demo.figures.sheet import BAR, INK, QUIET

# Inches. The side is limited, so a matrix of a thousand classes has small cells.
CELL, LEAST_SIDE, MOST_SIDE, MARGIN = 0.62, 3.0, 16.0, 1.7

# With more classes than this, numbers and names would be unreadable.
MOST_NUMBERED, MOST_NAMED = 25, 60

PANEL, HEADROOM = 4.4, 1.25
TILE_WIDTH, TILE_HEIGHT, TILES_ACROSS = 2.6, 3.1, 4
# Minimum width in inches, so that the title fits above a single photo.
LEAST_SHEET = 3.6


@runtime_checkable
class Bar(Protocol):
    """One bin of a reliability diagram: photos with a confidence in (low, high]."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def photos(self) -> int: ...
    @property
    def confidence(self) -> float: ...
    @property
    def accuracy(self) -> float: ...


@dataclass(frozen=True)
class Panel:
    """One reliability diagram: its title and its bins."""

    title: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Tile:
    """One photo of a contact sheet, and the text under it."""

    photo: Image.Image
    words: str


def draw_confusion(labels: Sequence[str], counts: Int[Tensor, "classes classes"]) -> Figure:
    """Photos by true class (rows) and predicted class (columns); colors are shares of a row."""
    side = min(max(CELL * len(labels), LEAST_SIDE), MOST_SIDE)
    figure = _figure(side + MARGIN, side + MARGIN)
    axes = figure.add_subplot()
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    axes.imshow(shares.numpy(), cmap="Oranges", vmin=0, vmax=1)
    axes.xaxis.set_ticks_position("top")
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("predicted", color=QUIET)
    axes.set_ylabel("true", color=QUIET)
    ticks = range(len(labels)) if len(labels) <= MOST_NAMED else ()
    names = [labels[number] for number in ticks]
    axes.set_xticks(ticks, names, rotation=40, ha="left", color=INK, parse_math=False)
    axes.set_yticks(ticks, names, color=INK, parse_math=False)
    axes.tick_params(length=0)
    if len(labels) <= MOST_NUMBERED:
        _write_counts(axes, counts, shares.tolist())
    return figure


def _write_counts(
    axes: Axes, counts: Int[Tensor, "classes classes"], shares: Sequence[Sequence[float]]
) -> None:
    for row, line in enumerate(counts.tolist()):
        for column, count in enumerate(line):
            if count:
                dark = shares[row][column] > 1 / 2
                colour = "white" if dark else INK
                axes.text(column, row, str(count), ha="center", va="center", color=colour)


def draw_reliability(panels: Sequence[Panel]) -> Figure:
    """Accuracy by confidence; perfectly calibrated predictions are on the diagonal."""
    figure = _figure(PANEL * len(panels), PANEL * HEADROOM)
    for number, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number)
        axes.plot((0, 1), (0, 1), color=QUIET, linewidth=1, linestyle="--")
        for bar in panel.bars:
            axes.bar(
                (bar.low + bar.high) / 2,
                bar.accuracy,
                width=bar.high - bar.low,
                color=BAR,
                alpha=0.75,
                edgecolor="white",
            )
            axes.plot(bar.confidence, bar.accuracy, marker="o", markersize=4, color=INK)
            axes.text(
                (bar.low + bar.high) / 2,
                bar.accuracy + 0.01,
                str(bar.photos),
                ha="center",
                fontsize=7,
                color=QUIET,
            )
        axes.set(xlim=(0, 1), ylim=(0, 1.06), xlabel="confidence", aspect="equal")
        axes.set_ylabel("accuracy" if number == 1 else "")
        axes.set_title(panel.title, fontsize=10, color=INK, parse_math=False)
        axes.tick_params(colors=QUIET, labelsize=8)
    return figure


def draw_contact_sheet(title: str, tiles: Sequence[Tile]) -> Figure:
    """A grid of photos, each with its text below."""
    across = max(1, min(len(tiles), TILES_ACROSS))
    rows = max(1, math.ceil(len(tiles) / across))
    figure = _figure(max(TILE_WIDTH * across, LEAST_SHEET), TILE_HEIGHT * rows + 0.5)
    figure.suptitle(title, fontsize=12, color=INK, parse_math=False)
    for number, tile in enumerate(tiles, start=1):
        axes = figure.add_subplot(rows, across, number)
        axes.imshow(tile.photo)
        axes.set(xticks=(), yticks=(), frame_on=False)
        axes.set_xlabel(tile.words, fontsize=8, color=INK, parse_math=False)
    return figure


def _figure(width: float, height: float) -> Figure:
    """An empty white figure; width and height in inches."""
    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure
