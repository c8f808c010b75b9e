"""A visitor's way through the page, in a real Chromium, with the bundled checkpoint."""

from pathlib import Path

import pytest

from browser.conftest import visiting

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
FLOWERS = {"daisy", "dandelion", "roses", "sunflowers", "tulips"}


def upload(page, path):
    page.set_input_files("#photo input[type=file]", str(path))
    page.wait_for_selector("#photo img")


def run(page):
    before = int(page.get_attribute("#explorer", "data-run"))
    page.click("#run")
    page.wait_for_selector(f"#explorer[data-state=ready][data-run='{before + 1}']")


def top(page):
    """The most likely class, as it is shown."""
    return page.inner_text("#names li[data-first] .label")


def choose(page, pane, view):
    page.select_option(f"[data-view-menu={pane}]", view)


def wait_for_caption(page, words, pane="b"):
    page.wait_for_function(
        "([pane, words]) => document.querySelector(`[data-caption=${pane}]`)"
        ".textContent.includes(words)",
        arg=[pane, words],
    )


def picture(page, pane="b"):
    """The pixels of a pane."""
    return page.eval_on_selector(f"canvas[data-pane={pane}]", "canvas => canvas.toDataURL()")


def in_sight(page, selector):
    """The text of an element that nothing covers."""
    return page.eval_on_selector(
        selector,
        """element => {
            element.scrollIntoView({block: 'center'});
            const box = element.getBoundingClientRect();
            const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
            return element.contains(top) ? element.innerText.trim() : 'covered';
        }""",
    )


def test_a_photo_gives_names_patches_and_maps(page):
    upload(page, EXAMPLES / "drawn-sunflower.png")
    run(page)
    assert set(page.locator("#names .label").all_inner_texts()) == FLOWERS
    assert top(page) == "sunflowers"
    assert "16 × 16 patches of 16 × 16" in page.inner_text("[data-caption=a]")
    assert "CLS token" in page.inner_text("[data-caption=b]")
    assert page.input_value("[data-view-menu=b]") == "rollout"
    assert "knows 5" in page.inner_text("#knows")


def test_after_run_everything_is_in_sight(chromium, served):
    with visiting(chromium, served.url) as page:
        page.set_viewport_size({"width": 1440, "height": 900})
        upload(page, EXAMPLES / "honey-bee.jpg")
        run(page)
        for selector in ("canvas[data-pane=a]", "canvas[data-pane=b]", "#names ol"):
            box = page.locator(selector).bounding_box()
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= 900, selector
        assert page.locator("[data-cell='1,0'], [data-cell='1,1']").first.bounding_box()["y"] < 900
        assert page.evaluate("scrollY") == 0
        page.set_viewport_size({"width": 1366, "height": 650})
        for pane in ("a", "b"):
            box = page.locator(f"canvas[data-pane={pane}]").bounding_box()
            assert box["y"] + box["height"] <= 650


def requests(page):
    """The events that the visitor asks the server for from now on; others come by themselves."""
    made = []

    def note(request):
        if "/queue/join" in request.url:
            asked = request.post_data_json.get("event_data") or {}
            if not asked.get("automatic"):
                made.append(request.url)

    page.on("request", note)
    return made


def wait_for_quiet(page, seconds=1.5):
    """Until nothing has been asked for that long: the layers come one after the other."""
    made = []
    page.on("request", lambda request: made.append(request.url))
    count = -1
    while count != len(made):
        count = len(made)
        page.wait_for_timeout(1000 * seconds)


def test_moving_over_every_patch_asks_for_nothing(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    page.wait_for_selector("#explorer .trust .chip", timeout=120_000)
    wait_for_quiet(page)
    choose(page, "a", "looks_at")
    made = []
    page.on("request", lambda request: made.append(request.url))
    box = page.locator("canvas[data-pane=b]").bounding_box()
    seen = set()
    for row in range(12):
        for column in range(12):
            x, y = box["x"] + (column + 2.5) * box["width"] / 16, box["y"] + (row + 2) * 24
            page.mouse.move(x, y)
            seen.add(page.get_attribute("#explorer", "data-patch"))
    assert len(seen) > 60
    assert made == []
    assert "attends to" in page.inner_text("[data-caption=a]")


def test_a_class_is_explained_and_compared_with_another(page):
    """One gesture, one request; and the next Run keeps what was chosen."""
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    made = requests(page)
    page.click("#names button:has-text('tulips')")
    wait_for_caption(page, "“tulips”")
    explained = page.input_value("[data-view-menu=b]")
    assert explained in ("relevance", "legrad", "evidence")
    page.click("#names button:has-text('daisy')", modifiers=["Shift"])
    wait_for_caption(page, "below zero “daisy”")
    assert len(made) == 2
    choose(page, "b", "legrad")
    wait_for_caption(page, "Gradient of the score of “tulips”")
    page.select_option(".pane:has([data-pane=b]) [data-class-menu=versus]", "")
    page.wait_for_function(
        "!document.querySelector('[data-caption=b]').textContent.includes('daisy')"
    )
    assert len(made) == 4
    page.click("#photo button[aria-label='Remove Image']")
    upload(page, EXAMPLES / "dahlia.jpg")
    run(page)
    wait_for_caption(page, "Gradient of the score of “tulips”")
    assert page.input_value("[data-view-menu=b]") == "legrad"


def test_a_class_is_not_compared_with_itself(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    choose(page, "b", "relevance")
    wait_for_caption(page, "“daisy”")
    before = picture(page)
    made = requests(page)
    page.click("#names button:has-text('daisy')", modifiers=["Shift"])
    offered = page.locator("[data-pane=b] >> xpath=ancestor::section[1]").locator(
        "[data-class-menu=versus] option"
    )
    assert not any("daisy" in words for words in offered.all_inner_texts())
    page.wait_for_timeout(300)
    assert (made, picture(page)) == ([], before)


def test_what_the_server_refuses_leaves_the_screen_as_it_was(page, served):
    """A method that is on no menu: the toast says why, and the map that was there stays."""
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)

    def forge(route):
        route.continue_(post_data=route.request.post_data.replace('"legrad"', '"legrat"'))

    page.route("**/queue/join*", forge)
    before = picture(page)
    choose(page, "b", "legrad")
    page.wait_for_selector(".toast-body:has-text('There is no method')")
    page.wait_for_function("document.querySelector('[data-view-menu=b]').value === 'rollout'")
    assert picture(page) == before


def test_a_double_click_on_run_runs_once(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    page.wait_for_timeout(500)
    made = requests(page)
    page.dblclick("#run")
    page.wait_for_selector("#explorer[data-state=ready]")
    page.wait_for_timeout(1000)
    assert len(made) == 1
    assert page.get_attribute("#explorer", "data-run") == "1"


def test_the_same_photo_can_be_run_again(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    run(page)
    assert page.get_attribute("#explorer", "data-run") == "2"


def test_the_map_can_be_smoothed_for_show(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    made = requests(page)
    patches = picture(page)
    page.check("[data-control=smooth]")
    assert picture(page) != patches
    page.uncheck("[data-control=smooth]")
    assert picture(page) == patches
    assert made == []


def test_a_map_is_tested_and_another_one_is_not_yet(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    made = requests(page)
    page.click("[data-control=test]")
    page.wait_for_selector("#explorer .trust .chip", timeout=120_000)
    assert len(made) == 1
    assert "in " in page.inner_text("#explorer .trust .chip")
    assert page.locator("#explorer .trust tr").count() == 3
    assert page.locator("#explorer .trust polyline.map").first.bounding_box()["width"] > 50
    choose(page, "b", "relevance")
    page.wait_for_selector("#explorer .trust .chip", state="detached")
    choose(page, "b", "rollout")
    page.wait_for_selector("#explorer .trust .chip")


def test_the_first_map_is_tested_by_itself_and_a_run_does_not_wait_for_it(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    with page.expect_request(lambda r: '"automatic":true,"id"' in (r.post_data or "")):
        pass
    upload(page, EXAMPLES / "drawn-sunflower.png")
    run(page)
    assert top(page) == "sunflowers"
    page.wait_for_selector("#explorer .trust .chip", timeout=120_000)
    assert "in 5 steps" in page.inner_text("#explorer .trust")
    assert "ran by itself" in page.inner_text("#explorer .trust")
    assert page.inner_text("#explorer [data-control=test]") == "Test again with more steps"


def test_tokens_can_be_compared(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    for view, words in (("looks_like", "No patch is chosen"), ("token_colours", "components")):
        choose(page, "b", view)
        wait_for_caption(page, words)
    page.locator("canvas[data-pane=b]").click()
    choose(page, "b", "looks_like")
    wait_for_caption(page, "Cosine similarity")
    assert "Most similar tokens" in page.inner_text("#explorer .card")


def test_another_photo_replaces_the_first(page):
    upload(page, EXAMPLES / "drawn-sunflower.png")
    run(page)
    page.click("#photo button[aria-label='Remove Image']")
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    assert top(page) == "daisy"


def opacity(page, selector):
    return float(page.eval_on_selector(selector, "element => getComputedStyle(element).opacity"))


def test_a_result_is_greyed_once_its_photo_has_gone(page):
    upload(page, EXAMPLES / "drawn-sunflower.png")
    run(page)
    # A busy explorer is pale, and becomes opaque within a moment.
    page.wait_for_function(
        "getComputedStyle(document.querySelector('#explorer .panes')).opacity === '1'"
    )
    assert opacity(page, "#names") == 1
    page.click("#photo button[aria-label='Remove Image']")
    upload(page, EXAMPLES / "honey-bee.jpg")
    page.wait_for_function("document.body.dataset.old")
    page.wait_for_function(
        "getComputedStyle(document.querySelector('#explorer .panes')).opacity < 0.5"
    )
    assert opacity(page, "#names") < 0.5
    assert page.get_attribute("#explorer", "data-old") == "Out of date: press Run."
    run(page)
    page.wait_for_function("!document.body.dataset.old")
    assert top(page) == "daisy"


def test_an_example_is_one_click_away(page):
    page.locator("button.gallery-item").first.click()
    page.wait_for_selector("#photo img")
    run(page)


def test_the_map_can_be_taken_away(page, tmp_path):
    from PIL import Image

    upload(page, EXAMPLES / "dahlia.jpg")
    run(page)
    with page.expect_download() as waiting:
        page.click("[data-control=slide]")
    waiting.value.save_as(tmp_path / "slide.png")
    with Image.open(tmp_path / "slide.png") as slide:
        assert slide.size == (1920, 1080)


@pytest.mark.parametrize("kind", ["text", "half"])
def test_a_file_that_is_no_photo_is_refused_in_words_and_nothing_is_lost(page, tmp_path, kind):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    kept = picture(page)
    bad = tmp_path / "photo.jpg"
    whole = (EXAMPLES / "dahlia.jpg").read_bytes()
    bad.write_bytes(b"These are only words." if kind == "text" else whole[: len(whole) // 2])
    page.click("#photo button[aria-label='Remove Image']")
    upload(page, bad)
    page.click("#run")
    expected = "is not a picture" if kind == "text" else "is damaged"
    page.wait_for_selector(f".toast-body:has-text('{expected}')")
    page.wait_for_selector("#explorer[data-state=ready]")
    assert picture(page) == kept
    assert in_sight(page, "#names li[data-first] .label") == "daisy"


@pytest.mark.parametrize(
    ("ref", "words"),
    [("nobody/nothing", "HF_HUB_OFFLINE is set"), ("flowrs", "did you mean 'flowers'?")],
)
def test_a_checkpoint_that_cannot_be_had_is_refused_in_words(page, ref, words):
    upload(page, EXAMPLES / "honey-bee.jpg")
    page.fill("#checkpoint input", ref)
    page.keyboard.press("Enter")
    page.click("#run")
    page.wait_for_selector(f'.toast-body:has-text("{words}")')
    page.fill("#checkpoint input", "flowers")
    page.keyboard.press("Enter")
    run(page)


def test_without_a_photo_it_says_what_is_missing(page):
    made = requests(page)
    for times in (1, 2):
        page.click("#run")
        page.wait_for_selector(".toast-body:has-text('There is no photo yet')")
        page.wait_for_selector("#explorer[data-state=error]")
        assert len(made) == times


def test_a_heic_photo_is_shown_and_read(page, tmp_path):
    import pillow_heif
    from PIL import Image

    photo = Image.open(EXAMPLES / "honey-bee.jpg").resize((405, 320))
    pillow_heif.from_pillow(photo).save(tmp_path / "photo.heic")
    page.set_input_files("#photo input[type=file]", str(tmp_path / "photo.heic"))
    page.wait_for_function("document.querySelector('#photo img')?.naturalWidth > 0")
    run(page)
    assert top(page) == "daisy"
