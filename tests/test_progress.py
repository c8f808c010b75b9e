"""Messages about the photos before training starts."""

import io
from pathlib import Path
from threading import Event

import pytest
from rich.console import Console
from rich.progress import Progress

from vit_demo.cli.progress import MOST_LISTED, Shown
from vit_demo.data.dataset import Split
from vit_demo.data.dataset_checks import Checked


@pytest.fixture
def printed_lines():
    """The lines printed about the photos."""

    def lines(checked):
        written = io.StringIO()
        bars = Progress(console=Console(file=written, width=200), disable=True)
        Shown(bars, bars.add_task(""), "", Event()).checked(checked)
        return written.getvalue().splitlines()

    return lines


SPLIT = Split(("daisy", "roses"), ((Path("a"), 0), (Path("b"), 1), (Path("c"), 1)), ())


def test_skipped_photos_come_first_then_the_counts_then_the_duplicates(printed_lines):
    checked = Checked(
        Split(SPLIT.labels, SPLIT.training, ((Path("d"), 0),), ("empty", "notes")),
        ((Path("x.png"), "it is damaged"),),
        ((Path("d"), Path("a")),),
    )
    assert printed_lines(checked) == [
        "skipped: x.png: it is damaged",
        "no photos in: empty, notes",
        "3 photos for training, 1 held out: daisy 2, roses 2",
        "on both sides of the split: d and a",
    ]


def test_a_long_list_is_truncated_and_names_the_file_with_all_of_it(printed_lines):
    unreadable = tuple((Path(f"{number}.png"), "why") for number in range(MOST_LISTED + 2))
    lines = printed_lines(Checked(SPLIT, unreadable, ()))
    assert lines[MOST_LISTED - 1 : -1] == [
        f"skipped: {MOST_LISTED - 1}.png: why",
        "… and 2 more, in training.json",
    ]
    assert printed_lines(Checked(SPLIT, unreadable[:MOST_LISTED], ()))[-2].startswith("skipped")
