"""The whole page in English and in Chinese, in a real Chromium."""

import re

import pytest

from browser.conftest import visiting
from browser.test_page import EXAMPLES, requests, run, upload, wait_for_quiet

pytestmark = pytest.mark.browser

CHINESE = re.compile("[\u4e00-\u9fff]")
# Names of methods, classes, programs and languages are the same everywhere; so is what Gradio says.
SAME = re.compile(
    r"\b(?:English|token|rollout|ViT|LeGrad|Hub|RGB|vultilion|John Severns|CC BY|arXiv|Swin|"
    r"CLS|Settings|Built with Gradio|Use via API|Enter|Esc|Shift|flowers|apache|logit|PNG|JPEG|"
    r"roses|daisy|dandelion|sunflowers|tulips|orchids|relevance|legrad|evidence|occlusion|"
    r"attention|random|Transformer|Vision)\b"
)


def in_sight(page):
    """The lines of text that a visitor sees."""
    return [line.strip() for line in page.inner_text("body").splitlines() if line.strip()]


def english(lines):
    """The lines that hold words of English."""
    return [line for line in lines if re.search("[A-Za-z]{3}", SAME.sub("", line))]


def speak(page, language):
    page.click(f"button[data-language={language}]")
    page.wait_for_selector(f"body[data-language={language}]")
    label = {"en": "Run", "zh": "运行"}[language]
    page.wait_for_selector(f"#run:has-text('{label}')")


def test_everything_is_said_in_the_chosen_language_and_the_result_stays(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    wait_for_quiet(page)
    assert not any(CHINESE.search(line) for line in in_sight(page) if line != "中文")
    picture = page.eval_on_selector("canvas[data-pane=b]", "canvas => canvas.toDataURL()")
    page.click("button:has-text('What these maps show')")
    made = requests(page)
    speak(page, "zh")
    assert english(in_sight(page)) == []
    assert page.get_attribute("html", "lang") == "zh"
    assert "lang=zh" in page.url
    assert page.get_attribute("#search :is(input, textarea)", "placeholder").startswith("在 Hub")
    assert page.input_value("#checkpoint input").startswith("flowers — 5 种花")
    same = page.eval_on_selector("canvas[data-pane=b]", "canvas => canvas.toDataURL()")
    assert (len(made), same, page.get_attribute("#explorer", "data-run")) == (1, picture, "1")
    speak(page, "en")
    assert not any(CHINESE.search(line) for line in in_sight(page) if line != "中文")


def test_a_toast_is_said_in_the_language_of_the_page(page):
    page.click("#run")
    page.wait_for_selector("[data-testid=toast-text]")
    assert page.inner_text("[data-testid=toast-text]").startswith("There is no photo yet")
    speak(page, "zh")  # Gradio clears the toast.
    page.click("#run")
    page.wait_for_selector("[data-testid=toast-text]")
    assert page.inner_text("[data-testid=toast-text]").startswith("还没有图片")


@pytest.mark.parametrize(
    ("locale", "query", "language"),
    [
        ("zh-CN", "", "zh"),
        ("zh-TW", "?lang=en", "en"),
        ("de-DE", "", "en"),
        ("en-US", "?lang=zh", "zh"),
        ("en-US", "?lang=<script>", "en"),
    ],
)
def test_the_first_language_is_that_of_the_address_or_of_the_browser(
    chromium, served, locale, query, language
):
    with visiting(chromium, served.url + query, locale=locale) as page:
        page.wait_for_selector(f"body[data-language={language}]")
        page.wait_for_selector(f"#run:has-text('{'运行' if language == 'zh' else 'Run'}')")
        assert page.get_attribute("html", "lang") == language
