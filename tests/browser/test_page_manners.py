"""The whole page: what assistive technology meets on it, and names that would like to be HTML."""

from pathlib import Path

import pytest

from browser.accessible import serious_faults
from browser.conftest import Served, visiting
from browser.test_page import run, upload, wait_for_caption
from vit_demo.checkpoints import hf_format
from vit_demo.preprocess import Preprocessing

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
LABELS = (
    "<img src=x onerror=\"document.title='broken'\">",
    "'quoted' \"twice\" &amp; <b>bold</b>",
    "\u202eright to left \u05d5\u05e8\u05d3",
    "sunflower 🌻👩🏽‍🌾",
    "<script>document.title='broken'</script>",
)
FOLDER = "<img src=x onerror=document.title='broken'>"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_the_page(chromium, served, theme):
    with visiting(chromium, f"{served.url}?__theme={theme}") as page:
        assert serious_faults(page) == []
        upload(page, EXAMPLES / "dahlia.jpg")
        run(page)
        page.wait_for_selector(".lens svg", state="visible")
        page.select_option("[data-view-menu=b]", "evidence")
        page.wait_for_selector(".account tr")
        assert serious_faults(page) == []


def test_names_from_files_are_drawn_as_text(
    chromium, make_model, tiny_config, tmp_path, photo_file
):
    import torch

    folder = tmp_path / FOLDER
    model = make_model(tiny_config)
    hf_format.write(
        folder,
        tiny_config,
        model.state_dict(),
        LABELS,
        Preprocessing(resize=(32, 32)),
        torch.float32,
    )
    app = Served(["--checkpoint", str(folder)], log=tmp_path / "log")
    try:
        with visiting(chromium, app.url) as page:
            title = page.title()
            upload(page, photo_file)
            run(page)
            names = page.locator("#names .label").all_text_contents()
            assert sorted(names) == sorted(LABELS)
            page.select_option("[data-view-menu=b]", "relevance")
            wait_for_caption(page, names[0])
            options = page.locator("[data-class-menu=target] option").all_text_contents()[:5]
            assert sorted(options) == sorted(LABELS)
            page.locator("#names button").nth(1).click(modifiers=["Shift"])
            wait_for_caption(page, f"“{names[1]}”")
            page.wait_for_selector(".lens svg", state="visible")
            assert names[0] in page.locator(".lens-legend").text_content()
            page.select_option("[data-view-menu=b]", "evidence")
            page.wait_for_selector(".account tr")
            assert names[0] in page.locator(".account").text_content()
            page.click("#checkpoint input")
            shown = page.locator("#checkpoint [role=option]").all_text_contents()
            assert any(FOLDER in each for each in shown)
            assert names[0] in page.locator("#knows").text_content()
            page.wait_for_timeout(300)
            assert page.locator("img[src=x], #right img, #names img, #names b").count() == 0
            assert page.evaluate("document.querySelectorAll('#screen script').length") == 0
            assert page.title() == title
    finally:
        app.stop()
