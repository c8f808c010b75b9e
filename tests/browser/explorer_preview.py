"""Photograph the explorer with the bundled checkpoint: desk, dark and Chinese, phone.

python tests/browser/explorer_preview.py FOLDER [PHOTO]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import vit_demo  # noqa: E402
from browser.chromium import FLAGS, find_or_install  # noqa: E402
from browser.explorer_page import StaticPage, write_page  # noqa: E402
from vit_demo.analysis import example_lenses  # noqa: E402
from vit_demo.explanations.queries import all_rollouts  # noqa: E402
from vit_demo.ui.explorer.lens import lens_data  # noqa: E402
from vit_demo.ui.explorer.payload import (  # noqa: E402
    MOST_CLASSES,
    explorer_data,
    layer_rows,
    rows_view,
    trust_data,
)
from vit_demo.ui.explorer.words import words  # noqa: E402

PHOTO = ROOT / "assets" / "examples" / "dahlia.jpg"
DESK, PHONE = (1440, 900), (390, 844)
EVIDENCE = "explorer.choose({views: {b: 'evidence'}}); scrollTo(0, 500)"
SHOTS = (
    ("light-en", "en", DESK, "", ""),
    ("dark-zh", "zh", DESK, "?dark", ""),
    ("looks-at", "en", DESK, "", "explorer.choose({layer: 8, views: {a: 'looks_at'}})"),
    ("class-map", "en", DESK, "?dark", "explorer.choose({views: {b: 'relevance'}})"),
    ("sequence", "en", DESK, "", "explorer.choose({sequence: true, views: {b: 'through_depth'}})"),
    ("evidence", "en", DESK, "", EVIDENCE),
    ("evidence-zh", "zh", DESK, "?dark", EVIDENCE),
    ("phone-en", "en", PHONE, "", ""),
    ("phone-dark-zh", "zh", PHONE, "?dark", ""),
)  # fmt: skip


def contents(photo: Path, ref: str = "flowers"):
    """Data and all layers of one photo, with the maps of a first Run and the quick test."""
    look = vit_demo.prepare(vit_demo.load(ref), photo)
    analyses = [look.explain(name) for name in ("rollout", "relevance", "legrad", "evidence")]
    trust = look.scores_vs_random(analyses[0])
    data = explorer_data(look.traced, analyses)
    data["trust"] = trust_data(trust, analyses[0])
    rows = rows_view("through_depth", all_rollouts(look.traced), look.traced.grid)
    data["views"] = [rows if view["name"] == rows["name"] else view for view in data["views"]]
    examples = example_lenses(look.checkpoint)
    data["lens"] = lens_data(look.traced, analyses[0], examples, MOST_CLASSES)
    return data, [layer_rows(look.traced, number + 1) for number in range(look.layers)]


def main(folder: Path, photo: Path) -> None:
    """Write one PNG a shot."""
    folder.mkdir(parents=True, exist_ok=True)
    data, layers = contents(photo)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_or_install(), args=list(FLAGS))
        write_page(Path(home), data, layers)
        served = StaticPage(home)
        for name, language, (width, height), query, script in SHOTS:
            write_page(Path(home), {**data, "words": words(language)}, layers)
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"{served.url}{query}")
            page.wait_for_selector("#explorer[data-state=ready]")
            page.wait_for_timeout(1500)
            if script:
                page.evaluate(script)
            box = page.locator("canvas[data-pane=a]").bounding_box()
            page.mouse.click(box["x"] + box["width"] * 0.52, box["y"] + box["height"] * 0.47)
            page.wait_for_timeout(200)
            page.screenshot(path=folder / f"{name}.png", full_page=width == PHONE[0])
            page.close()
        served.stop()
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Photograph the explorer.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    arguments = parser.parse_args()
    main(arguments.folder, arguments.photo)
