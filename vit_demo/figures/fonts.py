"""Fallback fonts: system fonts for characters that the figures' own font does not have."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import replace

from matplotlib.figure import Figure
from matplotlib.font_manager import (
    FontEntry,
    findSystemFonts,
    fontManager,
    get_font,
    weight_dict,
)
from matplotlib.text import Text

# The Unicode Consortium's font, included in matplotlib: it draws a box with the script's name.
LAST_RESORT = "Last Resort High-Efficiency"

# Font families with Chinese characters, most with Japanese and Korean too, in order of preference.
FAMILIES = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "SimHei",
    "Heiti SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK TC",
    "Arial Unicode MS",
    "Droid Sans Fallback",
    LAST_RESORT,
)

# The weights that figures use; matplotlib logs a warning if a font lacks the requested weight.
WEIGHTS = (400, 700)
# Prefix of the names under which fallback fonts are registered with matplotlib.
PREFIX = "vit_demo: "


def add_fallback_fonts(figure: Figure) -> None:
    """Add fallback fonts to texts whose own font lacks a character; other texts are not changed.

    If no installed font has the character, a box is drawn, without a warning from matplotlib.
    """
    lacking = [text for text in figure.findobj(Text) if isinstance(text, Text) and lacks(text)]
    if lacking:
        families = _registered()
        for text in lacking:
            text.set_fontfamily([*text.get_fontfamily(), *families])


def lacks(text: Text) -> bool:
    """Whether the text has a character that its own font does not have."""
    font = get_font(fontManager.findfont(text.get_fontproperties()))
    letters = {letter for letter in text.get_text() if not letter.isspace()}
    return any(not font.get_char_index(ord(letter)) for letter in letters)


def preferred(installed: Collection[str]) -> list[str]:
    """The installed families, in order of preference."""
    return [family for family in FAMILIES if family in installed]


def faces(entries: Iterable[FontEntry], family: str) -> list[FontEntry]:
    """One face of a family for every weight that figures use, under a prefixed name.

    If the family lacks a weight, the face with the nearest weight is used.
    """
    own = [entry for entry in entries if entry.name == family]
    return [
        replace(
            min(own, key=lambda entry: abs(_weight(entry) - weight)),
            name=PREFIX + family,
            style="normal",
            variant="normal",
            stretch="normal",
            weight=weight,
            size="scalable",
        )
        for weight in WEIGHTS
    ]


def _registered() -> list[str]:
    """The names under which matplotlib finds the fallback fonts, the last resort at the end."""
    if not set(preferred(fontManager.get_font_names())) - {LAST_RESORT}:
        _add_new_fonts()
    installed = fontManager.get_font_names()
    families = preferred(installed)
    for family in families:
        if PREFIX + family not in installed:
            fontManager.ttflist.extend(faces(fontManager.ttflist, family))
    return [PREFIX + family for family in families]


def _add_new_fonts() -> None:
    """Add fonts that were installed after matplotlib created its font list."""
    known = {entry.fname for entry in fontManager.ttflist}
    for path in sorted(set(findSystemFonts()) - known):
        # Ignore broken font files; the remaining fonts are enough, or the last resort is used.
        with suppress(OSError, RuntimeError):
            fontManager.addfont(path)


def _weight(entry: FontEntry) -> int:
    return entry.weight if isinstance(entry.weight, int) else weight_dict[entry.weight]
