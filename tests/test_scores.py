"""Evaluation figures: every number is at the right position."""

import pytest
import torch
from PIL import Image

from vit_demo.evaluation.metrics import Bin
from vit_demo.figures.scores import (
    MOST_NAMED,
    MOST_NUMBERED,
    Panel,
    Tile,
    draw_confusion,
    draw_contact_sheet,
    draw_reliability,
)


def texts(axes):
    return {(text.get_position(), text.get_text()) for text in axes.texts}


def test_counts_are_in_the_row_of_the_true_and_the_column_of_the_predicted_class():
    figure = draw_confusion(("daisy", "a $1 rose_2"), torch.tensor([[8, 2], [0, 5]]))
    axes = figure.axes[0]
    assert texts(axes) == {((0, 0), "8"), ((1, 0), "2"), ((1, 1), "5")}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["daisy", "a $1 rose_2"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    shares = axes.images[0].get_array()
    assert shares.tolist() == [[pytest.approx(0.8), pytest.approx(0.2)], [0, 1]]
    figure.canvas.draw()


def test_a_class_without_photos_is_an_empty_row():
    axes = draw_confusion(("a", "b"), torch.tensor([[0, 0], [1, 1]])).axes[0]
    assert axes.images[0].get_array().tolist() == [[0, 0], [0.5, 0.5]]


@pytest.mark.parametrize("classes", [1, MOST_NUMBERED, MOST_NUMBERED + 1, MOST_NAMED + 1, 300])
def test_many_classes_are_still_a_picture(classes):
    figure = draw_confusion([f"c{n}" for n in range(classes)], torch.eye(classes).long())
    assert len(figure.axes[0].texts) == (classes if classes <= MOST_NUMBERED else 0)
    assert len(figure.axes[0].get_yticks()) == (classes if classes <= MOST_NAMED else 0)
    assert max(figure.get_size_inches()) < 20
    figure.canvas.draw()


def test_bars_are_as_high_as_the_accuracy():
    bins = (Bin(0.4, 0.6, 7, 0.55, 0.25), Bin(0.8, 1.0, 30, 0.9, 1.0))
    figure = draw_reliability([Panel("before", bins), Panel("after", bins[:1])])
    before, after = figure.axes
    assert [bar.get_height() for bar in before.patches] == [0.25, 1.0]
    assert [bar.get_x() for bar in before.patches] == pytest.approx([0.4, 0.8])
    assert {text for _, text in texts(before)} == {"7", "30"}
    assert [line.get_xydata().tolist() for line in after.lines] == [
        [[0, 0], [1, 1]],
        [[0.55, 0.25]],
    ]
    assert (before.get_title(), after.get_title()) == ("before", "after")
    figure.canvas.draw()


@pytest.mark.parametrize("count", [1, 4, 5])
def test_every_photo_is_on_the_contact_sheet_with_its_text(count):
    tiles = [Tile(Image.new("RGB", (30, 20), (n, 0, 0)), f"is $a_{n}$") for n in range(count)]
    figure = draw_contact_sheet("worst", tiles)
    assert [axes.get_xlabel() for axes in figure.axes] == [tile.words for tile in tiles]
    assert [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes] == list(range(count))
    figure.canvas.draw()
