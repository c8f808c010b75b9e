"""Every sentence of the explorer exists in every language, with the same placeholders."""

import re
from pathlib import Path
from string import Formatter

import pytest

from vit_demo.errors import OptionError
from vit_demo.explanations import METHODS
from vit_demo.settings import ASSETS
from vit_demo.ui.explorer import payload as payload_module
from vit_demo.ui.explorer.words import DEFAULT_LANGUAGE, LANGUAGES, words

# Keys that the scripts or payload.py put together from parts.
COMPOSED = re.compile(r"^(page|title|control|state|pane|view|caption|account|wall\.title|reader)\.")


def placeholders(sentence):
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


def test_english_and_chinese_are_there():
    assert LANGUAGES == ("en", "zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_table_has_the_same_keys_and_placeholders(language):
    english, table = words(DEFAULT_LANGUAGE), words(language)
    assert list(table) == list(english)
    differ = [key for key in table if placeholders(table[key]) != placeholders(english[key])]
    assert differ == []
    assert all(table.values())


def test_chinese_sentences_are_chinese():
    names = {"view.legrad"}
    untranslated = [
        key
        for key, sentence in words("zh").items()
        if not re.search("[\u4e00-\u9fff]", sentence)
        and re.search("[a-z]{2}", placeholderless(sentence))
    ]
    assert set(untranslated) <= names


def placeholderless(sentence):
    return re.sub(r"\{\w+\}", "", sentence)


def test_every_method_has_a_name_and_a_caption():
    methods = set(METHODS) - {"attention"}
    keys = {f"{part}.{name}" for name in methods for part in ("view", "caption")}
    keys |= {f"unit.{name}" for name in methods if METHODS[name].signed}
    assert keys <= words().keys()


def test_every_key_that_a_script_names_exists_and_none_is_left_over():
    folder = ASSETS / "explorer"
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.js"))
    named = set(
        re.findall(
            r'"((?:card|wall|head|trust|keys|caption|control|predictions|list|lens|account|token)\.[a-z_.]+)"',
            scripts,
        )
    )
    assert named - words().keys() == set()
    composed = {key for key in words() if COMPOSED.match(key)}
    modules = Path(payload_module.__file__).parent.glob("*.py")
    payload = "\n".join(path.read_text(encoding="utf-8") for path in modules)
    named |= set(re.findall(r'"((?:trust|lens|account|token)\.[a-z_.]+)"', payload))
    from_python = {key for key in words() if key.startswith(("reason.", "unit."))}
    assert words().keys() - named - composed - from_python == set()


def test_an_unknown_language_is_refused_with_those_there_are():
    with pytest.raises(OptionError, match="one of: en, zh"):
        words("xx")
