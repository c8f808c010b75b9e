"""The page's text in every language, and errors that are written in English."""

import ast
import re
from pathlib import Path

import pytest

import vit_demo
from vit_demo.checkpoints.hub import faults
from vit_demo.errors import PhotoError
from vit_demo.photo import READABLE
from vit_demo.settings import ASSETS
from vit_demo.ui import languages
from vit_demo.ui.explorer.words import LANGUAGES, words
from vit_demo.ui.languages import (
    error_html,
    error_table,
    pattern_of,
    read_language,
    sentence,
    translate,
    translation,
)
from vit_demo.ui.masthead import NOTICES, reading_html

PACKAGE = Path(vit_demo.__file__).parent
OTHERS = [language for language in LANGUAGES if language != "en"]
# Every sentence that these modules raise is translated; of the others, what visitors often see.
COMPLETE = (
    "predictions.py", "photo.py", "ui/handlers.py", "ui/results.py", "ui/uploads.py",
    "ui/checkpoint_policy.py", "ui/explorer/payload.py",
)  # fmt: skip
# Not for visitors: a Python call, and names that a browser cannot choose.
NOT_ON_THE_PAGE = ("The array has the shape", "There is no photo at", "is not a path (",
                   "is the label of classes", "This checkpoint has no class")  # fmt: skip


def template(node):
    """A string or f-string of the source, with numbered placeholders; None for other code."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            numbers = iter(range(len(parts)))
            return "".join(
                p.value if isinstance(p, ast.Constant) else f"{{{next(numbers)}}}" for p in parts
            )
    return None


def raised(path):
    """The sentences that a module raises as they stand there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Raise(exc=ast.Call(args=[argument, *_])) if found := template(argument):
                yield found


def all_text():
    """Every string of the package, the sentences of the Hub's errors, and the catalogue."""
    found = [(ASSETS / "catalogue.json").read_text(encoding="utf-8")]
    found += [faults.TO_ALL, faults.TO_THIS_TOKEN, faults.NETWORK]
    found += [sentence for _, _, sentence in faults.REFUSALS]
    for path in PACKAGE.rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found.extend(text for node in nodes if (text := template(node)))
    return found


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_that_a_visitor_may_see_is_translated(language):
    missing = [
        message
        for module in COMPLETE
        for message in raised(PACKAGE / module)
        if translation(message, language) is None
        and not any(part in message for part in NOT_ON_THE_PAGE)
    ]
    assert missing == []


@pytest.mark.parametrize("language", OTHERS)
def test_no_translation_is_left_over(language):
    """The longest clause of each sentence stands in the package as it is in the table."""
    source = "\n".join(all_text()).lower()
    for english in error_table(language):
        longest = max(re.split(r"\{\d\}|[,;`()]|that is", english), key=len)
        assert longest.strip().lower() in source, english


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_keeps_every_value(language):
    for english, translated in error_table(language).items():
        assert set(re.findall(r"\{\d\}", english)) == set(re.findall(r"\{\d\}", translated))
        assert re.search("[\u4e00-\u9fff]", translated)


def test_an_error_is_translated_with_the_values_in_it():
    message = f"'leaf.txt' is not a picture that can be read here; give a {READABLE} file."
    assert translate(message, "en") == message
    chinese = translate(message, "zh")
    assert chinese == f"'leaf.txt' 不是这里能读取的图片；请提供 {READABLE} 文件。"


def test_a_sentence_within_a_sentence_is_translated_too():
    message = (
        "HF_HUB_OFFLINE is set, and the cache has no complete copy of ann/irises; unset it, or "
        "choose one that works offline: flowers."
    )
    expected = (
        "已设置 HF_HUB_OFFLINE，而且缓存中没有 ann/irises 的完整副本；请取消该设置，"
        "或选择一个可离线使用的模型：flowers。"
    )
    assert translate(message, "zh") == expected


def test_what_has_no_translation_is_said_to_be_english():
    assert translate("A rare thing happened.", "zh").endswith("只有英文）A rare thing happened.")


def test_a_pattern_holds_no_more_than_its_sentence():
    pattern = pattern_of("There is no class {0}; choose 1 (or 2).")
    assert pattern.fullmatch("there is no class 7; choose 1 (or 2).")[1] == "7"
    assert not pattern.fullmatch("There is no class 7; choose 1 or 2.")


def test_html_holds_every_language_and_no_tag_of_a_visitor():
    html = error_html(PhotoError("'<img src=x>' is damaged."))
    assert "<img" not in html
    for language in LANGUAGES:
        assert f'lang="{language}"' in html
    assert "<b>" not in sentence("page.known", count=1, labels="<b>")


@pytest.mark.parametrize("value", [None, 3, "xx", "../en", ["zh"], {}])
def test_a_browser_may_ask_for_any_language(value):
    assert read_language(value) == "en"


def test_the_scripts_and_the_style_know_the_same_languages():
    script = (ASSETS / "explorer" / "language.js").read_text(encoding="utf-8")
    assert f"LANGUAGES = {list(LANGUAGES)}".replace("'", '"') in script
    style = (ASSETS / "style.css").read_text(encoding="utf-8")
    for language in LANGUAGES:
        rule = f'body[data-language="{language}"] .said:not([lang="{language}"])'
        assert rule in style


def test_every_sentence_of_the_page_is_used():
    sources = [*(PACKAGE / "ui").rglob("*.py"), *(ASSETS / "explorer").glob("*.js")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    named = set(re.findall(r'"(page\.[a-z_.]+)"', text))
    keys = {key for key in words() if key.startswith("page.")}
    composed = {key for key in keys if key.startswith("page.reading.")}
    assert named - {"page.reading."} <= keys
    assert keys - named - composed == {"page.language.name"}
    assert set(NOTICES) <= keys


def test_the_reading_notes_are_there_in_every_language():
    html = reading_html()
    assert html.count("<b>Attention rollout</b>") == 1
    assert html.count("<b>注意力 rollout</b>") == 1
    assert "**" not in html
    assert languages.say("zh", "page.run") == "运行"
