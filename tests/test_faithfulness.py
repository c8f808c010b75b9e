"""The faithfulness figure: one color per method, and correct values."""

import pytest
import torch

from vit_demo.figures.faithfulness import COLOURS, Lines, Spans, Steps, draw_faithfulness

LINE = torch.tensor([[0.0, 0.5, 1.0], [0.9, 0.4, 0.2]])
LINES = Lines("Deletion", "taken away", "probability", {"a": LINE, "noise": LINE / 2})
SPANS = Spans("SaCo", "mean", {"a": (0.4, (0.1, 0.7)), "noise": (0.0, (-0.1, 0.1))})
STEPS = Steps("Forgetting", "likeness", ["head", "norm"], {"b_$1": [0.5, None], "a": [1.0, 0.2]})


def test_a_method_has_one_colour_in_every_panel_and_noise_is_grey_and_dashed():
    figure = draw_faithfulness([LINES, SPANS, STEPS], "noise")
    curves, spans, steps = figure.axes
    first, noise = curves.get_lines()
    assert first.get_xydata().tolist() == [
        [pytest.approx(share), pytest.approx(value)] for share, value in LINE.T.tolist()
    ]
    assert (first.get_label(), first.get_color()) == ("a", COLOURS[0])
    assert (noise.get_label(), noise.get_linestyle()) == ("noise", "--")
    assert spans.get_lines()[1].get_color() == COLOURS[0]
    by_label = {line.get_label(): line.get_color() for line in steps.get_lines()}
    assert by_label == {"b_$1": COLOURS[1], "a": COLOURS[0]}
    figure.canvas.draw()


def test_means_are_drawn_in_their_intervals():
    axes = draw_faithfulness([SPANS], "noise").axes[0]
    span, mean, *_ = axes.get_lines()
    assert list(span.get_xdata()) == [0.1, 0.7]
    assert list(mean.get_xdata()) == [0.4]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "noise"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_any_number_of_panels_is_a_picture(count):
    figure = draw_faithfulness([LINES] * count, "noise")
    figure.canvas.draw()
    assert len(figure.axes) == count
    assert figure.get_size_inches()[0] < 15
