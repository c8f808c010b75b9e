"""What is told about the photos before training begins."""

import io
from pathlib import Path
from threading import Event

import pytest
from rich.console import Console
from rich.progress import Progress

from vit_demo.cli.progress import MOST_TOLD, Shown
from vit_demo.data.dataset import Split
from vit_demo.data.dataset_checks import Checked


@pytest.fixture
def told():
    """All lines about what was found."""

    def lines(checked):
        written = io.StringIO()
        bars = Progress(console=Console(file=written, width=200), disable=True)
        Shown(bars, bars.add_task(""), "", Event()).checked(checked)
        return written.getvalue().splitlines()

    return lines


SPLIT = Split(("daisy", "roses"), ((Path("a"), 0), (Path("b"), 1), (Path("c"), 1)), ())


def test_what_was_left_out_comes_first_then_the_counts_then_the_copies(told):
    checked = Checked(
        Split(SPLIT.labels, SPLIT.training, ((Path("d"), 0),), ("empty", "notes")),
        ((Path("x.png"), "it is damaged"),),
        ((Path("d"), Path("a")),),
    )
    assert told(checked) == [
        "left out: x.png: it is damaged",
        "no photos in: empty, notes",
        "3 photos to learn from, 1 held out: daisy 2, roses 2",
        "on both sides of the split: d and a",
    ]


def test_a_long_list_is_cut_short_and_says_where_all_of_it_is(told):
    unreadable = tuple((Path(f"{number}.png"), "why") for number in range(MOST_TOLD + 2))
    lines = told(Checked(SPLIT, unreadable, ()))
    assert lines[MOST_TOLD - 1 : -1] == [
        f"left out: {MOST_TOLD - 1}.png: why",
        "… and 2 more, in training.json",
    ]
    assert told(Checked(SPLIT, unreadable[:MOST_TOLD], ()))[-2].startswith("left out")
