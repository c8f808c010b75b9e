"""Take the README's picture, and the same page dark and on a phone.

    python tests/browser/screenshots.py [FOLDER]

Without a folder only assets/screenshot.jpg is written.
"""

import argparse
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from browser.chromium import FLAGS, find_or_install  # noqa: E402
from browser.conftest import Served  # noqa: E402

PHOTO = ROOT / "assets" / "examples" / "honey-bee.jpg"
QUALITY = 88
DESK, PHONE = (1440, 900), (390, 844)


def take(browser: Browser, url: str, size: tuple[int, int], theme: str, path: Path) -> None:
    """Upload the photo, run, test the map, point at a patch, and photograph the page."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(f"{url}?__theme={theme}")
    page.set_input_files("#photo input[type=file]", str(PHOTO))
    page.wait_for_selector("#photo img")
    page.click("#run")
    page.wait_for_selector("#explorer[data-state=ready]")
    page.click("[data-control=test]")
    page.wait_for_selector("#explorer .trust .chip")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    box = page.locator("canvas[data-pane=b]").bounding_box()
    page.mouse.move(box["x"] + 0.42 * box["width"], box["y"] + 0.45 * box["height"])
    page.wait_for_timeout(800)  # the toolbar and the button fade
    whole = size == PHONE
    page.screenshot(path=path, full_page=whole, type="jpeg", quality=QUALITY)
    page.close()


def main(folder: Path | None) -> None:
    """Serve the app, take the pictures, stop it."""
    app = Served()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=find_or_install(), args=list(FLAGS)
            )
            take(browser, app.url, DESK, "light", ROOT / "assets" / "screenshot.jpg")
            if folder is not None:
                take(browser, app.url, DESK, "dark", folder / "dark.jpg")
                take(browser, app.url, PHONE, "light", folder / "phone.jpg")
            browser.close()
    finally:
        app.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take the README's picture.")
    parser.add_argument(
        "folder", nargs="?", type=Path, help="for the same page dark and on a phone"
    )
    main(parser.parse_args().folder)
