"""Words in every script: fonts of this machine for letters that the figures' own font lacks."""

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

# The Unicode Consortium's font, which comes with matplotlib: a box that tells the script.
LAST_RESORT = "Last Resort High-Efficiency"

# Families that write Chinese, and mostly Japanese and Korean as well: the better drawn first.
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

# The weights that figures use: matplotlib logs a complaint for a font that lacks the one asked for.
WEIGHTS = (400, 700)
LENT = "vit_demo: "


def add_fallback_fonts(figure: Figure) -> None:
    """Let other fonts write what a text's own font cannot; texts that lack nothing stay as is.

    Where no font of the machine can, a box stands for the letter, without a warning of matplotlib.
    """
    lacking = [text for text in figure.findobj(Text) if isinstance(text, Text) and lacks(text)]
    if lacking:
        families = _registered()
        for text in lacking:
            text.set_fontfamily([*text.get_fontfamily(), *families])


def lacks(text: Text) -> bool:
    """Whether there is a letter in it that its own font cannot write."""
    font = get_font(fontManager.findfont(text.get_fontproperties()))
    letters = {letter for letter in text.get_text() if not letter.isspace()}
    return any(not font.get_char_index(ord(letter)) for letter in letters)


def preferred(installed: Collection[str]) -> list[str]:
    """Those of the families that are installed, the better drawn first."""
    return [family for family in FAMILIES if family in installed]


def faces(entries: Iterable[FontEntry], family: str) -> list[FontEntry]:
    """One face of a family for every weight that figures use, under a name of our own.

    A face of the nearest weight stands in for one that the family has not.
    """
    own = [entry for entry in entries if entry.name == family]
    return [
        replace(
            min(own, key=lambda entry: abs(_weight(entry) - weight)),
            name=LENT + family,
            style="normal",
            variant="normal",
            stretch="normal",
            weight=weight,
            size="scalable",
        )
        for weight in WEIGHTS
    ]


def _registered() -> list[str]:
    """The names under which matplotlib finds the lent fonts, the last resort at the end."""
    if not set(preferred(fontManager.get_font_names())) - {LAST_RESORT}:
        _look_again()
    installed = fontManager.get_font_names()
    families = preferred(installed)
    for family in families:
        if LENT + family not in installed:
            fontManager.ttflist.extend(faces(fontManager.ttflist, family))
    return [LENT + family for family in families]


def _look_again() -> None:
    """Find fonts that were installed after matplotlib had written its list of them."""
    known = {entry.fname for entry in fontManager.ttflist}
    for path in sorted(set(findSystemFonts()) - known):
        # A file that is no font, or a broken one, writes no letters: what is left says so.
        with suppress(OSError, RuntimeError):
            fontManager.addfont(path)


def _weight(entry: FontEntry) -> int:
    return entry.weight if isinstance(entry.weight, int) else weight_dict[entry.weight]
