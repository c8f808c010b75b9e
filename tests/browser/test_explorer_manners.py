"""Who uses the explorer by keyboard, by touch, with little motion, or hears it read."""

import json

import pytest

from browser.accessible import serious_faults
from browser.test_explorer_component import (
    HOSTILE,
    TINY,
    loaded,
    looked,
    middles,
    root,
    shown,
    with_lens,
)
from vit_demo.ui.explorer.payload import explorer_data, layer_rows
from vit_demo.ui.explorer.words import words

pytestmark = pytest.mark.browser

HOOKS = """
async (data) => {
  const { mount } = await import('./explorer/explorer.js');
  const { predictionBars } = await import('./explorer/predictions.js');
  window.tested = [];
  window.explorer = mount(document.querySelector('#host'), null, {
    words: data.words,
    testMap: async (view, automatic) => {
      tested.push(view);
      const curve = { map: [[0, 1], [1, 0]], noise: [[0, 0.9], [1, 0]] };
      return { view, better: 0, all: 3, curves: [curve], short: automatic };
    },
  });
  window.choose = (index, compare) => (compare ? explorer.compare(index) : explorer.explain(index));
  document.querySelector('#top').replaceChildren(
    ...predictionBars(data.predictions, data.words, window.choose));
  await explorer.update(data);
}
"""


@pytest.fixture
def tiny(make_model, noise_photo):
    labels = (HOSTILE, *(f"class {number}" for number in range(4)))
    look = looked(make_model(TINY), noise_photo(101, 67), labels)
    maps = [look.explain(name) for name in ("rollout", "relevance", "evidence")]
    data = with_lens(explorer_data(look.traced, maps))
    data["words"] = words("en")
    return data, [layer_rows(look.traced, layer + 1) for layer in range(look.layers)]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(chromium, tiny, tmp_path, language, scheme):
    data, layers = tiny
    data = {**data, "words": words(language)}
    with shown(chromium, tmp_path, data, layers) as page:
        page.evaluate(f"document.body.classList.toggle('dark', {str(scheme == 'dark').lower()})")
        page.evaluate(HOOKS, data)
        page.select_option("[data-view-menu=b]", "evidence")
        page.click("[data-control=test]")
        page.wait_for_selector(".chip")
        page.mouse.click(*middles(page, "a", data["grid"])[1, 1])
        page.set_viewport_size({"width": 390, "height": 844})
        inside = page.evaluate(
            "[...document.querySelectorAll('.aside .box')].every((box) => "
            "[...box.children].every((e) => !e.offsetWidth || "
            "e.getBoundingClientRect().right <= box.getBoundingClientRect().right - 8))"
        )
        assert inside
        page.set_viewport_size({"width": 1200, "height": 900})
        assert serious_faults(page, "#explorer") == []
        assert serious_faults(page, "#top") == []
        page.focus("canvas[data-pane=b]")
        page.keyboard.press("?")
        assert serious_faults(page, "dialog") == []


def tab_to(page, selector, most=60):
    """Press Tab until the element has the focus, and see that the focus is visible."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("(s) => document.activeElement.matches(s)", selector):
            ring = page.evaluate(
                "(() => { const e = document.activeElement;"
                "return getComputedStyle(e.tagName === 'CANVAS' ? e.parentElement : e)"
                ".outlineStyle; })()"
            )
            assert ring in ("solid", "auto")
            return
    raise AssertionError(f"Tab never comes to {selector}")


def test_the_keyboard_alone_can_do_everything(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        page.evaluate(HOOKS, data)
        tab_to(page, "[data-class]")
        tab_to(page, "[data-class]")
        second, third = data["predictions"][1]["index"], data["predictions"][2]["index"]
        page.keyboard.press("Enter")
        assert page.evaluate("explorer.state.target") == second
        tab_to(page, "[data-class]")
        page.keyboard.press("Shift+Enter")
        assert page.evaluate("explorer.state.versus") == third
        page.evaluate("explorer.choose({versus: null})")

        tab_to(page, "[data-control=sequence-a]")
        page.keyboard.press("Space")
        assert page.is_checked("[data-control=sequence-a]")
        tab_to(page, "[data-view-menu=a]")
        page.keyboard.press("ArrowDown")
        assert page.evaluate("explorer.state.views.a") == data["views"][1]["name"]
        page.keyboard.press("ArrowUp")
        tab_to(page, "canvas[data-pane=a]")
        page.keyboard.press("Enter")
        assert root(page, "pin") == "2,3"
        page.keyboard.press("ArrowLeft")
        assert root(page, "pin") == "2,2"
        page.keyboard.press("Escape")
        assert root(page, "pin") == ""
        tab_to(page, "[data-class-menu=target]")
        page.keyboard.press("ArrowUp")
        assert page.evaluate("explorer.state.target") != second
        tab_to(page, "[data-view-menu=b]")
        page.evaluate("explorer.choose({views: {b: 'rollout'}})")
        tab_to(page, "canvas[data-pane=b]")
        page.keyboard.press("7")
        assert page.evaluate("explorer.state.views.b") == data["views"][6]["name"]
        page.keyboard.press("2")
        tab_to(page, "[data-control=smooth]")
        page.keyboard.press("Space")
        assert page.evaluate("explorer.state.smooth")
        tab_to(page, "[data-control=opacity]")
        page.keyboard.press("ArrowLeft")
        assert page.evaluate("explorer.state.opacity") < 0.9
        tab_to(page, "[data-control=layer]")
        page.keyboard.press("ArrowUp")
        assert root(page, "layer") == "2"
        tab_to(page, "[data-control=head]")
        page.keyboard.press("ArrowDown")
        assert root(page, "head") == "1"
        tab_to(page, "[data-control=play]")
        page.keyboard.press("Enter")
        assert root(page, "layer") == "1"
        page.keyboard.press("Enter")
        tab_to(page, "[data-cell]")
        page.keyboard.press("ArrowRight")
        assert root(page, "layer") == "2"
        page.focus("canvas[data-pane=b]")
        page.keyboard.press("2")
        tab_to(page, "[data-control=test]")
        page.keyboard.press("Enter")
        page.wait_for_selector(".chip")
        assert page.evaluate("tested.at(-1)") == "rollout"
        page.focus("canvas[data-pane=b]")
        page.keyboard.press("?")
        assert page.locator("dialog[open]").count() == 1
        page.keyboard.press("Escape")
        assert page.locator("dialog[open]").count() == 0


def test_a_finger_presses_and_drags(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers, size=(390, 844), has_touch=True) as page:
        page.locator("canvas[data-pane=b]").scroll_into_view_if_needed()
        at = middles(page, "b", data["grid"])
        touch = page.context.new_cdp_session(page)

        def send(kind, *points):
            places = [{"x": x, "y": y} for x, y in points]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

        before = page.evaluate("scrollY")
        send("touchStart", at[0, 1])
        assert root(page, "patch") == "0,1"
        for patch in ((1, 1), (2, 2), (3, 4)):
            send("touchMove", at[patch])
            page.wait_for_selector(f"#explorer[data-patch='{patch[0]},{patch[1]}']")
        assert page.evaluate("scrollY") == before
        assert "Patch (3, 4)" in page.inner_text(".card")
        send("touchEnd")
        assert root(page, "patch") == ""
        assert root(page, "pin") == ""


def test_with_little_motion_nothing_moves_by_itself(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers, reduced_motion="reduce") as page:
        loaded(page, 3)
        moving = page.evaluate(
            "[...document.querySelectorAll('#explorer, #explorer *')].filter((e) => {"
            "const s = getComputedStyle(e);"
            "return parseFloat(s.transitionDuration) > 0 || s.animationName !== 'none'; }).length"
        )
        assert moving == 0
        page.click("[data-control=play]")
        page.wait_for_selector("#explorer[data-layer='3']")
    with shown(chromium, tmp_path, data, layers) as page:
        panes = "getComputedStyle(document.querySelector('.panes')).transitionDuration"
        assert page.evaluate(panes) == "0.15s"


TESTING = """
async (data) => {
  const { mount } = await import('./explorer/explorer.js');
  window.tested = [];
  window.answers = [];
  window.explorer = mount(document.querySelector('#host'), null, {
    words: data.words,
    testMap: (view, automatic) => new Promise((resolve) => {
      tested.push([view, automatic]);
      answers.push((better) => resolve(better === null ? null : {
        view, better, all: 3, short: automatic, protocol: [],
        curves: [{ map: [[0, 1], [1, 0]], noise: [[0, 1], [1, 0]] }],
      }));
    }),
  });
  await explorer.update(data);
}
"""


def test_the_map_in_sight_is_tested_by_itself_and_once(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        page.evaluate(f"window.done = ({TESTING})({json.dumps(data)}); 0")
        page.wait_for_function("window.tested?.length === 1")
        assert page.evaluate("tested") == [["rollout", True]]
        assert page.is_disabled("[data-control=test]")
        page.select_option("[data-view-menu=b]", "relevance")
        page.wait_for_function("tested.length === 2")
        page.evaluate("answers[1](0)")
        page.wait_for_selector(".chip")
        assert page.inner_text(".chip") == "✕ No better than noise in any of 3 tests"
        assert page.get_attribute(".chip", "data-good") == "false"
        page.evaluate("answers[0](3)")
        page.select_option("[data-view-menu=b]", "rollout")
        assert page.inner_text(".chip") == "✓ Better than noise in 3 of 3 tests"
        page.select_option("[data-view-menu=b]", "random")
        page.select_option("[data-view-menu=b]", "relevance")
        page.mouse.move(*middles(page, "b", data["grid"])[1, 1])
        page.wait_for_timeout(2500)
        assert page.evaluate("tested.length") == 2
        page.click("[data-control=test]")
        assert page.evaluate("tested.at(-1)") == ["relevance", False]
        page.evaluate("answers[2](1)")
        page.wait_for_function("document.querySelector('.chip').innerText.includes('only 1 of 3')")
        assert page.locator("[data-control=test]").count() == 0


def test_a_test_that_was_given_up_is_not_begun_again_by_itself(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        page.evaluate(f"window.done = ({TESTING})({json.dumps(data)}); 0")
        page.wait_for_function("window.tested?.length === 1")
        page.evaluate("answers[0](null)")
        page.select_option("[data-view-menu=b]", "relevance")
        page.wait_for_timeout(2500)
        assert page.evaluate("tested.length") == 1
        assert page.is_enabled("[data-control=test]")
        page.evaluate("explorer.update(explorer.data)")
        page.wait_for_function("tested.length === 2")
        assert page.evaluate("tested.at(-1)") == ["relevance", True]
        page.evaluate("explorer.setState('busy')")
