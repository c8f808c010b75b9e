"""The page's text in every language: text tables, and HTML made from them.

The server needs the visitor's language only for the text of Gradio's own components. HTML that is
made here contains every language, and the style sheet shows one of them.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from html import escape
from typing import Any

from vit_demo.errors import DemoError
from vit_demo.ui.explorer.words import DEFAULT_LANGUAGE, LANGUAGES, TABLES, words

# Errors are raised in English. A table has their translations.
ERRORS = TABLES / "errors"

PLACEHOLDER = re.compile(r"\{\d\}")


def read_language(value: Any) -> str:
    """The language that a browser requests; English if it is not supported."""
    return value if isinstance(value, str) and value in LANGUAGES else DEFAULT_LANGUAGE


def say(language: str, key: str, **values: object) -> str:
    """One text of a table, with its placeholders filled."""
    return words(language)[key].format(**values)


def in_every_language(make: Callable[[str], str]) -> str:
    """HTML from `make` for each language; the page shows the visitor's."""
    return "".join(
        f'<span class="said" lang="{language}">{make(language)}</span>' for language in LANGUAGES
    )


def sentence(key: str, **values: object) -> str:
    """One text of the tables in every language, as HTML; the values are escaped."""
    return in_every_language(lambda language: escape(say(language, key, **values)))


def error_html(error: DemoError | str) -> str:
    """An error in every language, as escaped HTML: it may contain names from files and the Hub."""
    return in_every_language(
        lambda language: escape(translate(str(error), language)).replace("\n", "<br>")
    )


def translate(message: str, language: str) -> str:
    """Translate an English message; without a translation, the English text is shown."""
    found = translation(message, language)
    return say(language, "page.english_only", message=message) if found is None else found


def translation(message: str, language: str) -> str | None:
    """Translate a message; None if the table has no matching text.

    The placeholder values may also be texts of the table.
    """
    if language == DEFAULT_LANGUAGE:
        return message
    for pattern, sentence in _sentences(language):
        if match := pattern.fullmatch(message):
            parts = [translation(part, language) or part for part in match.groups()]
            return sentence.format(*parts)
    return None


@cache
def error_table(language: str) -> dict[str, str]:
    """English texts with numbered placeholders, mapped to their translations."""
    path = ERRORS / f"{language}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@cache
def _sentences(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """The table as patterns; those with the most fixed text come first."""
    table = error_table(language)
    ordered = sorted(table, key=lambda english: -len(PLACEHOLDER.sub("", english)))
    return tuple((pattern_of(english), table[english]) for english in ordered)


def pattern_of(english: str) -> re.Pattern[str]:
    """A pattern for the messages of one text. The case of letters is ignored."""
    fixed = map(re.escape, PLACEHOLDER.split(english))
    return re.compile("(.+?)".join(fixed), re.DOTALL | re.IGNORECASE)
