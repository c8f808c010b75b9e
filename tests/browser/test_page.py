"""A visitor's way through the page, in a real Chromium, with the bundled checkpoint."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
FLOWERS = {"daisy", "dandelion", "roses", "sunflowers", "tulips"}


def upload(page, path):
    page.set_input_files("#photo input[type=file]", str(path))
    page.wait_for_selector("#photo img")


def run(page):
    page.click("#run")
    page.wait_for_selector("#overlay img")
    page.wait_for_selector("#layer-image img")


def source(page, picture):
    return page.get_attribute(f"#{picture} img", "src")


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


def wait_for_change(page, picture, before):
    page.wait_for_function(
        "([id, before]) => document.querySelector(`#${id} img`)?.src !== before",
        arg=[picture, page.evaluate("path => new URL(path, location).href", before)],
    )


def test_a_photo_gives_names_patches_and_maps(page):
    upload(page, EXAMPLES / "drawn-sunflower.png")
    run(page)
    assert set(page.locator("#names dt").all_inner_texts()) >= FLOWERS
    assert page.inner_text("#names h2").strip() == "sunflowers"
    assert "16 × 16 patches of 16 × 16" in page.inner_text("#reads")
    assert "knows 5" in page.inner_text("#knows")


def test_the_layer_slider_changes_the_picture(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    last = source(page, "layer-image")
    page.fill("#layer input[type=number]", "3")
    page.keyboard.press("Tab")
    wait_for_change(page, "layer-image", last)
    third = source(page, "layer-image")
    page.locator("#layer input[type=range]").focus()
    page.keyboard.press("ArrowLeft")
    wait_for_change(page, "layer-image", third)


def choose(page, control, title):
    page.click(f"#{control} input")
    page.click(f"#{control} li:has-text('{title}')")


def requests(page):
    """The requests that put an event into the queue, as they are made from now on."""
    made = []
    page.on("request", lambda r: made.append(r.url) if "/queue/join" in r.url else None)
    return made


def test_another_map_for_one_class_and_compared_with_another(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    assert page.input_value("#method input") == "rollout"
    page.wait_for_selector("#target", state="hidden")
    first = source(page, "overlay")
    made = requests(page)
    choose(page, "method", "relevance")
    wait_for_change(page, "overlay", first)
    relevance = source(page, "overlay")
    assert page.input_value("#target input") == "Top prediction: daisy"
    choose(page, "target", "tulips")
    wait_for_change(page, "overlay", relevance)
    tulips = source(page, "overlay")
    choose(page, "versus", "daisy")
    wait_for_change(page, "overlay", tulips)
    page.wait_for_selector("text=tulips")
    assert len(made) == 3, "one gesture is one request"
    # The next Run keeps what was asked.
    compared = source(page, "overlay")
    upload_again = page.locator("#photo button[aria-label='Remove Image']")
    upload_again.click()
    upload(page, EXAMPLES / "dahlia.jpg")
    page.click("#run")
    wait_for_change(page, "overlay", compared)
    assert page.input_value("#method input") == "relevance"
    assert page.input_value("#target input") == "tulips"
    assert page.input_value("#versus input") == "daisy"
    choose(page, "method", "attention")
    page.wait_for_selector("#target", state="hidden")


def test_a_refusal_changes_nothing_on_the_screen(page):
    """A class is not compared with itself: the controls go back to what the map answers."""
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    first = source(page, "overlay")
    choose(page, "method", "relevance")
    wait_for_change(page, "overlay", first)
    relevance = source(page, "overlay")
    page.click("#versus input")
    assert "daisy" not in page.locator("#versus ul[role=listbox] li").all_inner_texts()
    page.click("#versus li:has-text('tulips')")
    wait_for_change(page, "overlay", relevance)
    kept = source(page, "overlay")
    choose(page, "target", "tulips")
    page.wait_for_selector(".toast-body")
    page.wait_for_function("document.querySelector('#target input').value.includes('daisy')")
    assert page.input_value("#versus input") == "tulips"
    assert source(page, "overlay") == kept
    choose(page, "target", "roses")
    wait_for_change(page, "overlay", kept)


def test_a_double_click_on_run_runs_once(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    page.wait_for_timeout(500)
    made = requests(page)
    page.dblclick("#run")
    page.wait_for_selector("#overlay img")
    page.wait_for_timeout(1000)
    assert len(made) == 1


def test_the_map_can_be_smoothed_for_show(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    patches = source(page, "overlay")
    page.click("#smooth input")
    wait_for_change(page, "overlay", patches)
    page.wait_for_selector("text=Smoothed (display only)")
    smooth = source(page, "overlay")
    choose(page, "method", "attention")
    wait_for_change(page, "overlay", smooth)
    assert page.is_visible("text=Smoothed (display only)")


def test_a_map_is_put_to_the_test_and_another_one_is_not_yet(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    assert not page.inner_text("#trust").strip()
    page.click("#test")
    page.wait_for_selector("#trust .verdict")
    assert "better than noise in" in page.inner_text("#trust .verdict")
    assert page.locator("#trust svg").count() == 3
    assert page.locator("#trust polyline.map").first.bounding_box()["width"] > 50
    first = source(page, "overlay")
    choose(page, "method", "relevance")
    wait_for_change(page, "overlay", first)
    page.wait_for_selector("#trust .verdict", state="detached")


def test_another_photo_replaces_the_first(page):
    upload(page, EXAMPLES / "drawn-sunflower.png")
    run(page)
    first = source(page, "overlay")
    page.click("#photo button[aria-label='Remove Image']")
    upload(page, EXAMPLES / "honey-bee.jpg")
    page.click("#run")
    wait_for_change(page, "overlay", first)
    assert page.inner_text("#names h2").strip() == "daisy"


def opacity(page, selector):
    return float(page.eval_on_selector(selector, "element => getComputedStyle(element).opacity"))


def test_a_result_is_greyed_once_its_photo_has_gone(page):
    upload(page, EXAMPLES / "drawn-sunflower.png")
    run(page)
    assert opacity(page, "#results") == opacity(page, "#names") == 1
    first = source(page, "overlay")
    page.locator("button.gallery-item").nth(1).click()
    page.wait_for_function("document.body.dataset.old")
    assert opacity(page, "#results") < 0.5 > opacity(page, "#names")
    page.click("#run")
    wait_for_change(page, "overlay", first)
    page.wait_for_function("!document.body.dataset.old")
    assert page.inner_text("#names h2").strip() == "daisy"


def test_a_layer_that_does_not_exist_is_refused_in_words(page):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    last = source(page, "layer-image")
    page.fill("#layer input[type=number]", "99")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast-body")
    assert source(page, "layer-image") == last
    page.fill("#layer input[type=number]", "2")
    page.keyboard.press("Enter")
    wait_for_change(page, "layer-image", last)


def test_an_example_is_one_click_away(page):
    page.locator("button.gallery-item").first.click()
    page.wait_for_selector("#photo img")
    run(page)


def test_the_map_can_be_taken_away(page, tmp_path):
    from PIL import Image

    upload(page, EXAMPLES / "dahlia.jpg")
    run(page)
    with page.expect_download() as waiting:
        page.click("#download")
    waiting.value.save_as(tmp_path / "slide.png")
    with Image.open(tmp_path / "slide.png") as slide:
        assert slide.size == (1920, 1080)


@pytest.mark.parametrize("kind", ["text", "half"])
def test_a_file_that_is_no_photo_is_refused_in_words_and_nothing_is_lost(page, tmp_path, kind):
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    kept = source(page, "overlay")
    bad = tmp_path / "photo.jpg"
    whole = (EXAMPLES / "dahlia.jpg").read_bytes()
    bad.write_bytes(b"These are only words." if kind == "text" else whole[: len(whole) // 2])
    page.click("#photo button[aria-label='Remove Image']")
    upload(page, bad)
    page.click("#run")
    expected = "is not a picture" if kind == "text" else "is damaged"
    page.wait_for_selector(f".toast-body:has-text('{expected}')")
    assert source(page, "overlay") == kept
    assert in_sight(page, "#names h2") == "daisy"


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
    page.click("#run")
    page.wait_for_selector(".toast-body:has-text('There is no photo yet')")


def test_a_heic_photo_is_shown_and_read(page, tmp_path):
    import pillow_heif
    from PIL import Image

    photo = Image.open(EXAMPLES / "honey-bee.jpg").resize((405, 320))
    pillow_heif.from_pillow(photo).save(tmp_path / "photo.heic")
    page.set_input_files("#photo input[type=file]", str(tmp_path / "photo.heic"))
    page.wait_for_function("document.querySelector('#photo img')?.naturalWidth > 0")
    run(page)
    assert page.inner_text("#names h2").strip() == "daisy"
