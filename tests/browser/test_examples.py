"""The finished examples before any run, and what is in the address, in a real Chromium."""

import pytest

from browser.conftest import visiting
from browser.test_page import (
    EXAMPLES,
    choose,
    requests,
    run,
    top,
    upload,
    wait_for_caption,
)

pytestmark = pytest.mark.browser

READY = "#explorer[data-state=ready][data-run='{}']"


def click_example(page, number):
    page.locator("#examples button.gallery-item").nth(number).click()


def wait_for_top(page, label):
    page.wait_for_function(
        "label => document.querySelector('#names li[data-first] .label')?.textContent === label",
        arg=label,
    )


def test_an_example_stands_there_before_any_run_and_nobody_has_run_it(page):
    made = requests(page)
    page.wait_for_selector(READY.format(0))
    assert top(page) == "roses"
    assert page.locator(".example-note").is_visible()
    assert "example" in page.inner_text(".example-note")
    page.wait_for_timeout(1000)
    assert made == []
    assert page.locator("#photo input[type=file]").count() == 1


def test_a_click_on_an_example_shows_it_at_once_and_everything_works(page, tmp_path):
    page.wait_for_selector(READY.format(0))
    click_example(page, 1)
    wait_for_top(page, "daisy")
    page.wait_for_selector("#photo img")
    page.wait_for_selector(READY.format(0))
    assert page.get_attribute("body", "data-old") is None
    choose(page, "b", "relevance")
    wait_for_caption(page, "“daisy”")
    page.locator("canvas[data-pane=b]").click()
    page.wait_for_function(
        "document.querySelector('#explorer .card').innerText.includes('Looks at')"
    )
    page.click("[data-control=test]")
    page.wait_for_selector("#explorer .trust .chip", timeout=90_000)
    with page.expect_download() as waiting:
        page.click("[data-control=slide]")
    assert waiting.value.suggested_filename.startswith("daisy-relevance")
    run(page)
    assert not page.locator(".example-note").is_visible()
    wait_for_caption(page, "“daisy”")
    assert "knows 5" in page.inner_text("#knows")


def test_a_photo_of_ones_own_puts_the_example_out_of_date_until_it_is_run(page):
    page.wait_for_selector(READY.format(0))
    upload(page, EXAMPLES / "honey-bee.jpg")
    page.wait_for_function("document.body.dataset.old")
    assert page.locator("[data-control=slide]").is_disabled()
    run(page)
    page.wait_for_function("!document.body.dataset.old")
    assert page.locator("[data-control=slide]").is_enabled()
    assert page.get_attribute("#explorer", "data-run") == "1"


def test_what_was_chosen_is_in_the_address_and_the_link_gives_it_back(page, chromium, served):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    click_example(page, 1)
    wait_for_top(page, "daisy")
    choose(page, "b", "legrad")
    wait_for_caption(page, "Gradient of the score of “daisy”")
    page.click("#names button:has-text('tulips')")
    wait_for_caption(page, "Gradient of the score of “tulips”")
    page.select_option("[data-control=layer]", "7")
    page.locator("canvas[data-pane=b]").click()
    pin = page.get_attribute("#explorer", "data-pin")
    page.click("button[data-copy]")
    page.wait_for_selector("[data-testid=toast-text]:has-text('has been copied')")
    link = page.evaluate("navigator.clipboard.readText()")
    for part in ("b=legrad", "layer=7", "target=4", "example=honey-bee.jpg"):
        assert part in link
    with visiting(chromium, link) as other:
        wait_for_caption(other, "Gradient of the score of “tulips”")
        assert top(other) == "daisy"
        assert other.get_attribute("#explorer", "data-layer") == "7"
        assert other.get_attribute("#explorer", "data-pin") == pin


def test_nonsense_in_the_address_is_ignored(chromium, served):
    nonsense = (
        "?a=<b>&b=nothing&layer=99&head=-3&patch=70,x&target=77&versus=1e9&lang=xx"
        "&example=../dahlia.jpg"
    )
    with visiting(chromium, served.url + nonsense) as page:
        page.wait_for_selector(READY.format(0))
        assert top(page) == "roses"
        assert page.input_value("[data-view-menu=a]") == "patches"
        assert page.input_value("[data-view-menu=b]") == "rollout"
        assert page.get_attribute("#explorer", "data-layer") == "12"
        assert page.get_attribute("#explorer", "data-head") == "0"
        page.wait_for_timeout(500)
        assert "nothing" not in page.url
        assert "target" not in page.url


def test_a_link_names_the_checkpoint(chromium, served):
    with visiting(chromium, served.url + "?checkpoint=ann/irises") as page:
        page.wait_for_function("document.querySelector('#checkpoint input').value === 'ann/irises'")
        assert page.get_attribute("#explorer", "data-state") == "empty"
        assert "checkpoint=ann" in page.url
