"""Fallback fonts for every script, without messages on stderr."""

import logging

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager

from vit_demo.figures.fonts import (
    FAMILIES,
    LAST_RESORT,
    PREFIX,
    add_fallback_fonts,
    faces,
    lacks,
    preferred,
)
from vit_demo.figures.sheet import save_figure

CHINESE = "蓝色 方块"


def written(words, weight="normal", size=20):
    """A figure with only this text, and the text artist."""
    figure = Figure(figsize=(3, 1))
    FigureCanvasAgg(figure)
    return figure, figure.text(0.1, 0.4, words, weight=weight, fontsize=size)


def ink(words):
    figure, _ = written(words)
    add_fallback_fonts(figure)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


def test_installed_families_are_in_order_of_preference():
    installed = [LAST_RESORT, "Droid Sans Fallback", "DejaVu Sans", "Noto Sans CJK SC", "SimHei"]
    expected = ["Noto Sans CJK SC", "SimHei", "Droid Sans Fallback", LAST_RESORT]
    assert preferred(installed) == expected
    assert preferred(["DejaVu Sans"]) == []
    assert FAMILIES[-1] == LAST_RESORT


def test_a_missing_weight_is_replaced_by_the_nearest_one():
    entries = [
        FontEntry("light.ttf", 0, "SimHei", weight=300),
        FontEntry("medium.ttf", 2, "SimHei", weight="medium"),
        FontEntry("other.ttf", 0, "DejaVu Sans", weight=700),
    ]
    regular, bold = faces(entries, "SimHei")
    assert (regular.fname, regular.index, regular.weight) == ("light.ttf", 0, 400)
    assert (bold.fname, bold.index, bold.weight) == ("medium.ttf", 2, 700)
    assert regular.name == bold.name == PREFIX + "SimHei"


def test_only_texts_with_missing_characters_get_fallback_fonts():
    figure, chinese = written(f"is {CHINESE}")
    english = figure.text(0, 0, "roses, café\nΩ → −1")
    families = english.get_fontfamily()
    assert (lacks(chinese), lacks(english)) == (True, False)
    add_fallback_fonts(figure)
    assert english.get_fontfamily() == families
    lent = [name.removeprefix(PREFIX) for name in chinese.get_fontfamily()[len(families) :]]
    assert chinese.get_fontfamily()[: len(families)] == families
    assert lent == preferred(lent)
    assert lent[-1] == LAST_RESORT


def test_a_font_is_registered_once():
    for _ in range(2):
        add_fallback_fonts(written(CHINESE)[0])
    names = [entry.name for entry in fontManager.ttflist]
    assert names.count(PREFIX + LAST_RESORT) == 2


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@pytest.mark.parametrize("weight", ["normal", "bold"])
def test_chinese_is_saved_without_messages_on_stderr(tmp_path, caplog, weight, suffix):
    """Warnings are errors here; matplotlib reports font problems as log records."""
    figure, _ = written(f"{CHINESE} a", weight, size=17)
    axes = figure.add_subplot()
    axes.set_xticks([0, 1], [CHINESE, "tulip"], rotation=40)
    axes.set_xlabel(CHINESE, weight=weight)
    with caplog.at_level(logging.WARNING):
        save_figure(figure, tmp_path / f"words.{suffix}")
    assert not caplog.records


def test_matplotlib_warns_without_fallback_fonts():
    figure, _ = written("蓝")
    with pytest.warns(UserWarning, match="Glyph 34013"):
        figure.canvas.draw()


def test_characters_without_a_font_are_boxes():
    """A code point that Unicode will never assign."""
    assert (ink("\U0003fffe") < 128).any()


def test_each_letter_has_its_own_shape_where_a_font_of_the_machine_has_it():
    _, chinese = written(CHINESE)
    add_fallback_fonts(chinese.get_figure())
    if [name for name in chinese.get_fontfamily() if name.startswith(PREFIX)] == [
        PREFIX + LAST_RESORT
    ]:
        pytest.skip("this machine has no font with Chinese letters")
    assert (ink("蓝") != ink("方")).any()
