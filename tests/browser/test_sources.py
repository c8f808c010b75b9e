"""Photos that cannot be read, and browsers that refuse the clipboard or the camera."""

import pytest
from PIL import Image

from browser.conftest import visiting
from browser.test_page import EXAMPLES, run, upload

pytestmark = pytest.mark.browser

TOAST = "[data-testid=toast-text]:has-text('{}')"


@pytest.mark.parametrize("kind", ["text", "half"])
def test_a_file_that_is_no_photo_is_said_at_the_upload(page, tmp_path, kind):
    bad = tmp_path / "photo.jpg"
    whole = (EXAMPLES / "dahlia.jpg").read_bytes()
    bad.write_bytes(b"These are only words." if kind == "text" else whole[: len(whole) // 2])
    page.set_input_files("#photo input[type=file]", str(bad))
    page.wait_for_selector(TOAST.format("is not a picture" if kind == "text" else "is damaged"))


def test_without_permission_for_the_clipboard_the_visitor_learns_what_to_do(page):
    page.click("#photo button[aria-label='Paste from clipboard']")
    page.wait_for_selector(TOAST.format("Ctrl+V"))


def test_a_clipboard_without_a_picture_is_said(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('only words')")
    page.click("#photo button[aria-label='Paste from clipboard']")
    page.wait_for_selector(TOAST.format("no picture in the clipboard"))


def test_without_a_camera_the_visitor_learns_what_to_do(page):
    page.click("#photo button[aria-label='Capture from camera']")
    page.click("#photo button:has-text('Click to Access Webcam')")
    page.wait_for_selector(TOAST.format("no access to a camera"))


def test_on_a_phone_run_stands_right_below_the_photo(chromium, served):
    with visiting(chromium, served.url) as page:
        page.set_viewport_size({"width": 390, "height": 844})
        photo = page.locator("#photo").bounding_box()
        button = page.locator("#run").bounding_box()
        assert 0 <= button["y"] - (photo["y"] + photo["height"]) < 24
        assert button["y"] + button["height"] < 844
        upload(page, EXAMPLES / "honey-bee.jpg")
        run(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("size", [(1800, 300), (300, 1200)], ids=["panorama", "portrait"])
def test_a_long_photo_is_shown_by_its_crop_and_whole_on_request(page, tmp_path, size):
    with Image.open(EXAMPLES / "honey-bee.jpg") as photo:
        photo.resize(size).save(tmp_path / "long.jpg")
    upload(page, tmp_path / "long.jpg")
    run(page)
    pane = "canvas[data-pane=a]"
    crop = page.eval_on_selector(pane, "canvas => canvas.toDataURL()")
    # The middle of each side of the stage is a patch, or next to one: the crop fills the height.
    box = page.locator(pane).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.08 * box["height"])
    assert page.get_attribute("#explorer", "data-patch").startswith("0,")
    page.mouse.move(5, 5)
    assert not page.is_checked("[data-control=whole]")
    page.check("[data-control=whole]")
    assert page.eval_on_selector(pane, "canvas => canvas.toDataURL()") != crop
    page.uncheck("[data-control=whole]")
    assert page.eval_on_selector(pane, "canvas => canvas.toDataURL()") == crop
