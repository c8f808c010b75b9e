"""Picking another checkpoint, in a real Chromium, with a Hub on this machine."""

from threading import Event

import pytest
import torch

from browser.conftest import Served, visiting
from browser.test_page import EXAMPLES, run, top, upload

pytestmark = pytest.mark.browser

LABELS = ("aster", "bluebell", "crocus")
OFFERED = "WinKawaks/vit-tiny-patch16-224"
PICKLED = "jafdxc/vit-base-patch16-224-finetuned-flower"


@pytest.fixture(scope="module")
def files(tmp_path_factory, make_model):
    """A whole checkpoint of about 1 MB, which arrives in some twenty pieces."""
    from vit_demo.checkpoints import hf_format
    from vit_demo.models.vit import ViTConfig
    from vit_demo.preprocess import Preprocessing

    config = ViTConfig(3, width=96, depth=3, heads=3, mlp_width=160, image_size=(224, 224))
    folder = tmp_path_factory.mktemp("vit")
    tensors = make_model(config).state_dict()
    squeeze = Preprocessing(resize=(224, 224))
    hf_format.write(folder, config, tensors, LABELS, squeeze, torch.float32)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def serve(hub, tmp_path_factory):
    """Start the app before the Hub of this module, each time with an empty cache."""
    apps = []

    def serve(*arguments, **environment):
        folder = tmp_path_factory.mktemp("app")
        reached = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "hf"), "HF_TOKEN": ""}
        apps.append(Served(arguments, reached | environment, folder / "log"))
        return apps[-1]

    yield serve
    for app in apps:
        app.stop()


@pytest.fixture(scope="module")
def app(serve):
    return serve()


@pytest.fixture
def page(chromium, app):
    with visiting(chromium, app.url) as visitor:
        yield visitor


def listed(page):
    """The titles in the open list."""
    page.click("#checkpoint input")
    titles = page.locator("#checkpoint ul[role=listbox] li").all_inner_texts()
    page.keyboard.press("Escape")
    return [title.removeprefix("✓").strip() for title in titles]


def choose(page, title):
    page.click("#checkpoint input")
    page.click(f"#checkpoint li:has-text('{title}')")


def type_in(page, ref):
    page.fill("#checkpoint input", ref)
    page.keyboard.press("Enter")


def look_for(page, query):
    page.fill("#search :is(input, textarea)", query)
    page.keyboard.press("Enter")


def names(page):
    return set(page.locator("#names .label").all_inner_texts())


def wait_for_line(page, words):
    page.wait_for_selector(f"#can:has-text('{words}')")


def test_another_checkpoint_is_picked_from_the_list_and_runs(page, hub, files):
    hub.add(OFFERED, files)
    upload(page, EXAMPLES / "honey-bee.jpg")
    wait_for_line(page, "ViT · 5 classes · bundled")
    choose(page, OFFERED)
    wait_for_line(page, "not known before it is fetched")
    run(page)
    assert names(page) == set(LABELS)
    wait_for_line(page, "ViT · 3 classes · in the cache")
    assert "rollout" in page.inner_text("#can")
    assert f"{OFFERED} at {hub.repos[OFFERED].commit}" in page.inner_text("#knows")
    page.wait_for_function("!document.body.dataset.old")


def test_a_fresh_one_shows_how_far_it_is_and_keeps_nobody_else_waiting(
    page, chromium, app, hub, files
):
    gate = Event()
    hub.add("ann/slow", files, gate=gate)
    upload(page, EXAMPLES / "honey-bee.jpg")
    type_in(page, "ann/slow")
    page.click("#run")
    page.wait_for_selector("text=Fetching model.safetensors, 1 MB")
    with visiting(chromium, app.url) as other:
        upload(other, EXAMPLES / "drawn-sunflower.png")
        run(other)
        assert top(other) == "sunflowers"
        assert page.get_attribute("#explorer", "data-run") == "0"
    gate.set()
    page.wait_for_selector("#explorer[data-state=ready]")
    assert names(page) == set(LABELS)


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("ann/nothing-here", "has no repository 'ann/nothing-here'"),
        ("museum/gated", "museum/gated is gated: accept its terms"),
        (PICKLED, "start with --allow-pickle if you trust its author"),
    ],
)
def test_what_cannot_be_had_is_said_and_the_next_run_works(page, hub, files, ref, words):
    hub.add("museum/gated", files, gated=True)
    weights = {"pytorch_model.bin": files["model.safetensors"]}
    pickled = {name: data for name, data in files.items() if not name.endswith("safetensors")}
    hub.add(PICKLED, pickled | weights)
    upload(page, EXAMPLES / "honey-bee.jpg")
    type_in(page, ref)
    page.click("#run")
    page.wait_for_selector(f'.toast-body:has-text("{words}")')
    choose(page, "flowers — 5 flowers")
    wait_for_line(page, "ViT · 5 classes · bundled")
    run(page)


def test_a_search_finds_and_a_click_fills_the_picker(page, hub, files):
    hub.add("ann/snowdrops-vit", files)
    hub.add("eve/snowdrops-gated", files, gated=True, tags=("vit",))
    look_for(page, "snowdrops")
    page.wait_for_selector("#found button")
    rows = page.locator("#found button")
    assert rows.nth(0).inner_text() == "ann/snowdrops-vit\n7 downloads · apache-2.0"
    assert "licence unknown · gated: its terms must be accepted" in rows.nth(1).inner_text()
    rows.nth(0).focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#checkpoint input').value.includes('snow')")
    wait_for_line(page, "not known before it is fetched")
    assert rows.nth(0).get_attribute("aria-pressed") == "true"
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    assert names(page) == set(LABELS)


def test_a_slow_search_keeps_nothing_waiting_and_gives_way_to_a_new_one(page, hub, files):
    hub.add("ann/slow-lilacs", files, api_seconds=6)
    hub.add("ann/quick-irises", files)
    look_for(page, "slow-lilacs")
    page.wait_for_selector("#found:has-text('Searching')")
    upload(page, EXAMPLES / "honey-bee.jpg")
    run(page)
    look_for(page, "quick-irises")
    page.wait_for_selector("#found button:has-text('quick-irises')")
    page.wait_for_timeout(6000)
    assert "lilacs" not in page.inner_text("#found")
    look_for(page, "")
    page.wait_for_function("!document.querySelector('#found').innerText.trim()")


def test_what_was_used_is_there_after_a_reload_and_for_this_visitor_alone(
    page, chromium, app, hub, files
):
    hub.add("ann/violets", files)
    upload(page, EXAMPLES / "honey-bee.jpg")
    type_in(page, "ann/violets")
    run(page)
    expected = "ann/violets — works offline · used recently"
    page.wait_for_function(
        "(words) => document.querySelector('#checkpoint input').value === words", arg=expected
    )
    page.reload()
    page.wait_for_selector("#can .about")
    assert listed(page)[:2] == ["flowers — 5 flowers · apache-2.0 · works offline", expected]
    with visiting(chromium, app.url) as other:
        assert "ann/violets — works offline" in listed(other)


def test_without_a_network_the_search_says_one_quiet_sentence_and_the_cache_works(
    serve, chromium, hub, files, tmp_path
):
    home = {"HF_HOME": str(tmp_path / "hf")}
    hub.add("ann/lilies", files)
    with visiting(chromium, serve(**home).url) as page:
        upload(page, EXAMPLES / "honey-bee.jpg")
        type_in(page, "ann/lilies")
        run(page)
    hub.log.clear()
    with visiting(chromium, serve(HF_HUB_OFFLINE="1", **home).url) as page:
        assert "ann/lilies — works offline" in listed(page)
        look_for(page, "lilies")
        page.wait_for_selector("#found:has-text('HF_HUB_OFFLINE is set')")
        assert page.locator(".toast-body").count() == 0
        upload(page, EXAMPLES / "honey-bee.jpg")
        type_in(page, "ann/lilies")
        wait_for_line(page, "ViT · 3 classes · in the cache")
        run(page)
        assert names(page) == set(LABELS)
    assert hub.log == []


def instead(page, ref):
    """From now on, the page's requests name this checkpoint, whatever the picker says."""

    def change(route):
        body = route.request.post_data.replace('"flowers"', f'"{ref}"')
        route.continue_(post_data=body)

    page.route("**/queue/join*", change)


def test_a_page_with_a_catalogue_only_takes_nothing_else(serve, chromium, hub, files):
    there = hub.add("ann/poppies", files)
    with visiting(chromium, serve("--catalogue-only").url) as page:
        assert page.locator("#search").count() == 0
        type_in(page, "ann/poppies")
        page.click("#photo")
        assert page.input_value("#checkpoint input").startswith("flowers")
        upload(page, EXAMPLES / "honey-bee.jpg")
        run(page)
        instead(page, "ann/poppies")
        page.click("#run")
        page.wait_for_selector(".toast-body:has-text('does not fit the page')")
    assert hub.requests(there) == []


def test_a_shared_page_opens_no_folder_of_its_host(serve, chromium, files, tmp_path):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with visiting(chromium, serve("--host", "0.0.0.0").url) as page:
        upload(page, EXAMPLES / "honey-bee.jpg")
        type_in(page, str(tmp_path))
        wait_for_line(page, "is no bundled checkpoint and no Hub id")
        page.click("#run")
        page.wait_for_selector(".toast-body:has-text('is no bundled checkpoint and no Hub id')")
    with visiting(chromium, serve().url) as page:
        upload(page, EXAMPLES / "honey-bee.jpg")
        type_in(page, str(tmp_path))
        wait_for_line(page, "ViT · 3 classes · on this machine")
        run(page)
        assert names(page) == set(LABELS)
