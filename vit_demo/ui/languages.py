"""The page's text in every language: tables of sentences, and what Python says as HTML.

The server does not need to know which language a visitor reads, except for the text of Gradio's
own components: HTML that is made here holds every language, and the style shows one of them.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from html import escape
from typing import Any

from vit_demo.errors import DemoError
from vit_demo.ui.explorer.words import DEFAULT_LANGUAGE, LANGUAGES, TABLES, words

# Errors are written in English where they arise. A table gives the sentences of another language.
ERRORS = TABLES / "errors"

PLACEHOLDER = re.compile(r"\{\d\}")


def read_language(value: Any) -> str:
    """The language that a browser asks for, or English where there is no such table."""
    return value if isinstance(value, str) and value in LANGUAGES else DEFAULT_LANGUAGE


def say(language: str, key: str, **values: object) -> str:
    """One sentence of a table, with its placeholders filled."""
    return words(language)[key].format(**values)


def in_every_language(make: Callable[[str], str]) -> str:
    """HTML that `make` gives for each language; the page shows the visitor's."""
    return "".join(
        f'<span class="said" lang="{language}">{make(language)}</span>' for language in LANGUAGES
    )


def sentence(key: str, **values: object) -> str:
    """One sentence of the tables in every language, as HTML; the values are escaped."""
    return in_every_language(lambda language: escape(say(language, key, **values)))


def error_html(error: DemoError | str) -> str:
    """An error in every language, as HTML: names in it come from files and from the Hub."""
    return in_every_language(
        lambda language: escape(translate(str(error), language)).replace("\n", "<br>")
    )


def translate(message: str, language: str) -> str:
    """An English message in a language; what has no translation is shown as English."""
    found = translation(message, language)
    return say(language, "page.english_only", message=message) if found is None else found


def translation(message: str, language: str) -> str | None:
    """The same message in a language, or None where its table has no such sentence.

    The parts that fill the placeholders may be sentences of the table themselves.
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
    """English sentences with numbered placeholders, and the same sentences in a language."""
    path = ERRORS / f"{language}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@cache
def _sentences(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """The table as patterns; those with the most fixed text are tried first."""
    table = error_table(language)
    ordered = sorted(table, key=lambda english: -len(PLACEHOLDER.sub("", english)))
    return tuple((pattern_of(english), table[english]) for english in ordered)


def pattern_of(english: str) -> re.Pattern[str]:
    """A pattern for the messages of one sentence. A sentence may begin with a small letter."""
    fixed = map(re.escape, PLACEHOLDER.split(english))
    return re.compile("(.+?)".join(fixed), re.DOTALL | re.IGNORECASE)
