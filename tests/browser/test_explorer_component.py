"""The explorer in a real Chromium, on a static page: no model and no Gradio behind it."""

import base64
import json
import re
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from browser.explorer_page import StaticPage, write_page
from vit_demo import load, prepare
from vit_demo.analysis import PreparedPhoto
from vit_demo.checkpoints import Checkpoint
from vit_demo.explanations.queries import all_rollouts, patch_rollout
from vit_demo.models.swin import Swin, SwinConfig
from vit_demo.models.vit import ViTConfig
from vit_demo.preprocess import Preprocessing
from vit_demo.settings import ASSETS
from vit_demo.ui.explorer import payload
from vit_demo.ui.explorer.payload import (
    colours_view,
    explorer_data,
    layer_rows,
    map_view,
    pairs_view,
    patch_rows,
    rows_view,
)
from vit_demo.ui.explorer.words import words

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=\"document.title='broken'\">'\"&amp; ‮rtl 🌼"
TINY = ViTConfig(5, width=24, depth=3, heads=3, mlp_width=40, patch_size=8, image_size=(32, 48))
SWIN = SwinConfig(5, width=8, depths=(1,), heads=(2,), windows=((4, 4),), image_size=(32, 32))
REDRAW_MS = 8


@contextmanager
def shown(chromium, folder, data, layers=(), patches=(), size=(1200, 900), **context):
    """A visitor of the component; at the end: no error on the page, no request elsewhere."""
    served = StaticPage(write_page(folder, {"words": words("en"), **data}, layers, patches))
    visit = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **context)
    page = visit.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("request", lambda r: None if own(r.url, served) else faults.append(r.url))
    page.goto(served.url)
    page.wait_for_selector("#explorer[data-state=ready]")
    yield page
    visit.close()
    served.stop()
    assert faults == []


def own(url, served):
    return url.startswith((served.url, "data:", "blob:"))


def looked(model, photo, labels=tuple("abcde")):
    preprocessing = Preprocessing(resize=model.config.image_size)
    checkpoint = Checkpoint("tiny", None, "ViT", "ours", model, labels, preprocessing)
    return PreparedPhoto(checkpoint, preprocessing(photo))


@pytest.fixture(scope="module")
def flowers():
    """The bundled checkpoint's data and all of its layers."""
    look = prepare(load("flowers"), ASSETS / "examples" / "dahlia.jpg")
    data = explorer_data(look.traced, [look.explain("rollout"), look.explain("relevance")])
    return data, [layer_rows(look.traced, layer + 1) for layer in range(look.layers)]


@pytest.fixture
def tiny(make_model, noise_photo):
    """A model of 4 × 6 patches, 3 layers and 3 heads, whose labels are hostile."""
    labels = (HOSTILE, *(f"{HOSTILE} {number}" for number in range(4)))
    look = looked(make_model(TINY), noise_photo(101, 67), labels)
    data = explorer_data(look.traced, [look.explain("rollout"), look.explain("relevance")])
    return data, [layer_rows(look.traced, layer + 1) for layer in range(look.layers)]


def root(page, name):
    return page.get_attribute("#explorer", f"data-{name}")


def middles(page, pane, grid):
    """Where the middle of every patch is on the screen, told by the component's own layout."""
    box = page.locator(f"canvas[data-pane={pane}]").bounding_box()
    layout = page.evaluate(
        f"(() => {{ const p = explorer.panes.{pane}; const r = p.canvas.width / "
        "p.canvas.getBoundingClientRect().width; const g = p.layout.grid;"
        "return [g.x / r, g.y / r, g.width / r, g.height / r]; })()"
    )
    rows, cols = grid
    return {
        (row, col): (
            box["x"] + layout[0] + (col + 0.5) * layout[2] / cols,
            box["y"] + layout[1] + (row + 0.5) * layout[3] / rows,
        )
        for row in range(rows)
        for col in range(cols)
    }


def pixel(page, pane, point):
    """The color drawn at a point of the screen."""
    return page.evaluate(
        "([pane, x, y]) => { const c = explorer.panes[pane].canvas, b = c.getBoundingClientRect();"
        "const r = c.width / b.width; return [...c.getContext('2d')"
        ".getImageData((x - b.left) * r, (y - b.top) * r, 1, 1).data]; }",
        [pane, *point],
    )


def loaded(page, count):
    page.wait_for_function(f"explorer.maps.layers.size === {count}")


def test_no_selector_has_a_comma_in_parentheses():
    """Gradio splits selectors at commas when it adds its scope, and breaks such a rule."""
    style = (ASSETS / "explorer" / "explorer.css").read_text(encoding="utf-8")
    selectors = re.findall(r"([^{}]+)\{", re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL))
    assert [each for each in selectors if re.search(r"\([^)]*,", each)] == []


def test_hovering_every_patch_asks_for_nothing_and_redraws_quickly(chromium, flowers, tmp_path):
    data, layers = flowers
    with shown(chromium, tmp_path, data, layers, size=(1440, 900)) as page:
        loaded(page, 12)
        page.select_option("[data-view-menu=b]", "looks_at")
        requests = []
        page.on("request", lambda request: requests.append(request.url))
        page.evaluate("explorer.timings.length = 0")
        for patch, point in middles(page, "a", data["grid"]).items():
            page.mouse.move(*point)
            assert root(page, "patch") == f"{patch[0]},{patch[1]}"
        timings = sorted(page.evaluate("explorer.timings"))
        assert requests == []
        assert len(timings) >= 256
        assert timings[int(0.95 * len(timings))] <= REDRAW_MS
        page.mouse.move(2, 2)
        assert root(page, "patch") == ""


def test_both_panes_mark_the_patch_under_the_pointer(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        one, other = middles(page, "a", data["grid"]), middles(page, "b", data["grid"])
        half = (one[0, 1][0] - one[0, 0][0]) / 2
        for under, marked, pane in ((one, other, "b"), (other, one, "a")):
            page.mouse.move(*under[2, 3])
            edge = (marked[2, 3][0] - half, marked[2, 3][1])
            assert min(pixel(page, pane, edge)[:3]) > 200
            page.mouse.move(2, 2)
            assert min(pixel(page, pane, edge)[:3]) < 200


def test_the_names_that_outside_checks_rely_on(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        assert (root(page, "state"), root(page, "run"), root(page, "patch")) == ("ready", "1", "")
        assert (root(page, "layer"), root(page, "head")) == ("3", "0")
        for pane in "ab":
            assert page.locator(f"#explorer canvas[data-pane={pane}]").count() == 1
            assert page.locator(f"#explorer select[data-view-menu={pane}]").count() == 1
            assert page.locator(f"#explorer [data-caption={pane}]").inner_text()
        cells = page.locator("#explorer button[data-cell]")
        assert cells.count() == 3 * (3 + 1)
        page.evaluate("explorer.setState('busy')")
        assert root(page, "state") == "busy"
        page.evaluate("explorer.update(explorer.data)")
        page.wait_for_selector("#explorer[data-state=ready][data-run='2']")
        page.evaluate("explorer.setState('error', '<b>no</b>')")
        assert root(page, "state") == "error"
        assert "<b>no</b>" in page.locator("#explorer .message").inner_text()
        page.evaluate("window.second = mount(document.querySelector('#host'), null)")
        assert root(page, "state") == "empty"


def test_a_cell_of_the_wall_is_shown_in_the_right_pane(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        page.click("[data-cell='2,3']")
        assert (root(page, "layer"), root(page, "head")) == ("2", "3")
        assert page.input_value("[data-view-menu=b]") == "attention"
        assert page.input_value("[data-view-menu=a]") == "patches"
        assert page.get_attribute("[data-cell='2,3']", "aria-pressed") == "true"
        assert "Layer 2, head 3" in page.locator("[data-caption=b]").inner_text()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        assert (root(page, "layer"), root(page, "head")) == ("3", "0")


def test_keys_move_pin_layer_head_and_view(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        page.mouse.click(*middles(page, "b", data["grid"])[1, 1])
        assert root(page, "pin") == "1,1"
        page.mouse.move(2, 2)
        page.focus("canvas[data-pane=b]")
        for key in ("ArrowDown", "ArrowRight", "ArrowRight", "[", "h", "h"):
            page.keyboard.press(key)
        assert root(page, "pin") == "2,3"
        assert (root(page, "layer"), root(page, "head")) == ("2", "2")
        for _ in range(9):
            page.keyboard.press("ArrowUp")
        assert root(page, "pin") == "0,3"
        names = [view["name"] for view in data["views"]][:9]
        for number, name in enumerate(names, start=1):
            page.keyboard.press(str(number))
            assert page.input_value("[data-view-menu=b]") == name
        page.keyboard.press("Escape")
        assert root(page, "pin") == ""
        page.keyboard.press("?")
        assert page.locator("dialog[open]").count() == 1


def test_every_control_is_reached_by_tab_with_a_visible_focus(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        reached = set()
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.add(
                page.evaluate(
                    "(() => { const e = document.activeElement, d = e.dataset;"
                    "const ring = e.tagName === 'CANVAS' ? e.parentElement : e;"
                    "return (d.viewMenu ?? d.pane ?? d.control ?? (d.cell ? 'cell' : '')) + '|' +"
                    "getComputedStyle(ring).outlineStyle; })()"
                )
            )
        names = {"a", "b", "opacity", "layer", "head", "play", "cell"}
        assert {f"{name}|solid" for name in names} <= reached


def test_what_was_chosen_survives_the_next_result(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        page.select_option("[data-view-menu=b]", "relevance")
        page.select_option("[data-control=layer]", "1")
        page.evaluate("explorer.update(explorer.data)")
        page.wait_for_selector("#explorer[data-run='2']")
        assert page.input_value("[data-view-menu=b]") == "relevance"
        assert root(page, "layer") == "1"
        assert page.evaluate("changes.at(-1).layer") == 1


def test_labels_are_drawn_as_text(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        page.select_option("[data-view-menu=b]", "relevance")
        assert HOSTILE in page.locator("[data-caption=b]").text_content()
        assert page.locator("#host img, #top img").count() == 0
        assert page.title() == "Explorer"


def test_the_colors_of_a_map_are_those_of_the_figures(chromium, tiny, tmp_path):
    """At full opacity the patch with the largest value has the last color of the table."""
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        page.evaluate("explorer.choose({opacity: 1, views: {b: 'rollout'}})")
        values = page.evaluate(
            "[...explorer.maps.of(explorer.data.views[1], explorer.state).values]"
        )
        best = int(torch.tensor(values).argmax())
        point = middles(page, "b", data["grid"])[divmod(best, data["grid"][1])]
        last = page.evaluate("[...explorer.tables.sequential.slice(-3)]")
        assert pixel(page, "b", point)[:3] == pytest.approx(last, abs=2)


def test_pure_functions_of_color_and_place(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        found = page.evaluate(
            """async () => {
              const c = await import('./explorer/colour.js');
              const g = await import('./explorer/geometry.js');
              const w = await import('./explorer/words.js');
              const grid = { x: 10, y: 20, width: 60, height: 40 };
              const table = new Uint8Array([0, 0, 0, 200, 100, 50]);
              const quiet = c.overlayPixels([0, 1], { low: 0, high: 1 }, table, 1);
              const signed = c.overlayPixels([0], { low: -1, high: 1, signed: true }, table, 1);
              return {
                quantile: c.quantile([4, 1, 2, 3], 0.5),
                corners: [g.patchAt(grid, [4, 6], 10, 20), g.patchAt(grid, [4, 6], 69.9, 59.9)],
                off: [g.patchAt(grid, [4, 6], 9.9, 30), g.patchAt(grid, [4, 6], 70, 30)],
                box: g.patchBox(grid, [4, 6], [1, 2]),
                alpha: [quiet[3], quiet[7], signed[3]],
                said: w.say({ a: 'x {b} {c}' }, 'a', { b: '<i>' }),
                unknown: w.say({}, 'constructor'),
                percent: [w.percent(0.905), w.percent(-0.00042), w.percent(0), w.percent(1)],
              };
            }"""
        )
        assert found["quantile"] == 2.5
        assert found["corners"] == [[0, 0], [3, 5]]
        assert found["off"] == [None, None]
        assert found["box"] == {"x": 30, "y": 30, "width": 10, "height": 10}
        assert found["alpha"][0] < 30
        assert found["alpha"][1] == 255
        assert found["alpha"][2] == 0
        assert found["said"] == "x <i> {c}"
        assert found["unknown"] == "constructor"
        assert found["percent"] == ["90.5 %", "−0.04 %", "0 %", "100 %"]


def test_views_that_an_architecture_cannot_give_are_disabled_with_the_reason(
    chromium, noise_photo, tmp_path
):
    look = looked(Swin(SWIN).eval(), noise_photo(40, 40))
    data = explorer_data(look.traced, [look.explain("rollout")])
    with shown(chromium, tmp_path, data) as page:
        for name in ("attention", "looks_at"):
            option = page.locator(f"[data-view-menu=b] option[value={name}]")
            assert option.is_disabled()
            assert "not available" in option.get_attribute("title")
        assert page.locator("[data-cell]").count() == 0
        assert "no row of its own" in page.locator(".wall").inner_text()
        assert "CLS" not in page.inner_text("[data-caption=b]")
        heading = page.locator("h2").first
        assert heading.evaluate("(h) => h.scrollWidth <= h.clientWidth")
        assert not page.locator("[data-control=sequence-a]").is_visible()
        page.focus("canvas[data-pane=b]")
        attention = 1 + [view["name"] for view in data["views"]].index("attention")
        page.keyboard.press(str(attention))
        assert page.input_value("[data-view-menu=b]") == "rollout"


def with_lens(data, depends=(False, True, True), layers=(1, 2, 3)):
    """The data with a lens whose first class climbs, 0.2 a layer, and the others fall."""
    classes = [row["index"] for row in data["classes"]]
    rows = [[0.2 * layer for layer in layers]] + [
        [0.9 - 0.1 * n] * len(layers) for n in (1, 2, 3, 4)
    ]
    content = np.array(rows, np.float32).tobytes()
    lens = {"layers": list(layers), "classes": classes, "depends": list(depends), "examples": 3}
    return {**data, "lens": {**lens, "bytes": base64.b64encode(content).decode()}}


def test_the_lens_draws_each_layer_in_its_column_and_greys_what_is_fixed(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, with_lens(data), layers) as page:
        points = page.get_attribute(".lens polyline.explained", "points")
        assert points == "50,80.0 150,60.0 250,40.0"
        assert page.locator(".lens polyline").count() == 5
        assert page.locator(".lens rect.fixed").count() == 1
        chart, columns = page.locator(".lens svg"), page.locator("[data-cell$=',0']")
        left = chart.bounding_box()["x"]
        width = chart.bounding_box()["width"]
        inner, outer = chart.bounding_box(), page.locator(".lens").bounding_box()
        assert inner["y"] + inner["height"] < outer["y"] + outer["height"]
        for layer in range(3):
            cell = columns.nth(layer).bounding_box()
            middle = left + width * (layer + 0.5) / 3
            assert abs(middle - cell["x"] - cell["width"] / 2) < 4
        said = page.get_attribute(".lens svg", "aria-label")
        assert "layer 1 20.0 % (does not depend on the photo)" in said
        assert "layer 3 60.0 %" in said
        page.select_option("[data-view-menu=b]", "relevance")
        other = str(data["classes"][3]["index"])
        page.evaluate(f"explorer.explain({other})")
        assert page.get_attribute(".lens polyline.explained", "points").startswith("50,40.0")
        assert HOSTILE in page.inner_text(".lens-legend .explained")


def test_layers_that_the_head_cannot_read_are_grey_and_one_layer_is_a_dot(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, with_lens(data, (True,), (3,)), layers) as page:
        assert page.get_attribute(".lens polyline.explained", "points") == "250,40.0 250,40.0"
        assert page.locator(".lens rect.fixed").count() == 2
        assert "the head cannot read the layer" in page.inner_text(".lens")


def test_an_architecture_without_a_lens_says_why(chromium, tiny, tmp_path):
    data, layers = tiny
    refused = {**data, "lens": {"reason": {"key": "lens.unreadable"}}}
    with shown(chromium, tmp_path, refused, layers) as page:
        assert "No depth lens" in page.inner_text(".lens")
        assert not page.locator(".lens svg").is_visible()
    with shown(chromium, tmp_path, data, layers) as page:
        assert not page.locator(".lens").is_visible()
        page.evaluate(f"explorer.setLens({json.dumps(with_lens(data)['lens'])})")
        assert page.locator(".lens svg").is_visible()


def test_the_account_stands_beside_evidence_and_beside_nothing_else(
    chromium, make_model, noise_photo, tmp_path
):
    look = looked(make_model(TINY), noise_photo(101, 67))
    evidence = look.explain("evidence")
    data = explorer_data(look.traced, [look.explain("rollout"), evidence])
    layers = [layer_rows(look.traced, layer) for layer in (1, 2, 3)]
    with shown(chromium, tmp_path, data, layers) as page:
        assert not page.locator(".account").is_visible()
        page.select_option("[data-view-menu=b]", "evidence")
        rows = page.locator(".account tr")
        assert rows.all_inner_texts()[0].startswith("Patches")
        values = [float(v.replace("\u2212", "-")) for v in
                  page.locator(".account td:last-child").all_inner_texts()]  # fmt: skip
        assert values[-1] == pytest.approx(sum(values[:-1]), abs=0.03)
        assert f"{values[-1]:.2f}" in page.inner_text(".account").replace("\u2212", "-")
        widths = [bar.bounding_box()["width"] for bar in page.locator(".account .bar").all()]
        longest = max(range(len(values)), key=lambda place: abs(values[place]))
        assert widths[longest] == max(widths)
        assert "%" not in page.inner_text(".pane:has([data-pane=b]) .ticks")
        page.select_option("[data-view-menu=b]", "rollout")
        assert not page.locator(".account").is_visible()


def test_bars_of_an_account_share_one_zero(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        found = page.evaluate(
            """async () => {
              const a = await import('./explorer/account.js');
              return [a.bars([3, -1, 0]), a.bars([0]), [2.334, -0.1, -0.001].map(a.signed)];
            }"""
        )
        assert found[0] == [
            {"left": 0.25, "width": 0.75},
            {"left": 0, "width": 0.25},
            {"left": 0.25, "width": 0},
        ]
        assert found[1] == [{"left": 0, "width": 0}]
        assert found[2] == ["+2.33", "−0.10", "0.00"]


def test_through_the_depth_follows_the_pointer_and_shows_the_rows_of_python(
    chromium, make_model, noise_photo, tmp_path
):
    look = looked(make_model(TINY), noise_photo(101, 67))
    data = explorer_data(look.traced, [look.explain("rollout")])
    view = rows_view("through_depth", all_rollouts(look.traced), look.traced.grid)
    layers = [layer_rows(look.traced, layer) for layer in (1, 2, 3)]
    with shown(chromium, tmp_path, data, layers) as page:
        loaded(page, 3)
        page.evaluate(f"explorer.addView({json.dumps(view)})")
        page.select_option("[data-view-menu=b]", "through_depth")
        assert "No patch" in page.inner_text("[data-caption=b]")
        requests = []
        page.on("request", lambda request: requests.append(request.url))
        for patch, point in middles(page, "a", data["grid"]).items():
            page.mouse.move(*point)
            shown_values = page.evaluate(
                "[...explorer.maps.of(explorer.data.views.find(v => v.name === 'through_depth'),"
                "explorer.state, explorer.state.hover).values]"
            )
            expected = patch_rollout(look.traced, patch)[0].flatten()
            difference = (torch.tensor(shown_values) - expected).abs().max()
            assert difference <= expected.max() / 255
        assert requests == []
        page.mouse.click(*middles(page, "a", data["grid"])[1, 2])
        page.mouse.move(2, 2)
        assert "begins at one patch" in page.inner_text("[data-caption=b]")


def tokens_on_screen(page, pane):
    """Middle of every token of the sequence on the screen."""
    return page.evaluate(
        "async (pane) => { const { tokenBox } = await import('./explorer/geometry.js');"
        "const p = explorer.panes[pane], b = p.canvas.getBoundingClientRect();"
        "const r = p.canvas.width / b.width, t = p.layout.tokens;"
        "return Array.from({ length: t.count }, (_, i) => { const x = tokenBox(t, i);"
        "return [b.left + (x.x + x.width / 2) / r, b.top + (x.y + x.height / 2) / r]; }); }",
        pane,
    )


def test_patches_stand_as_a_sequence_linked_to_the_other_pane(
    chromium, make_model, noise_photo, tmp_path
):
    look = looked(make_model(replace(TINY, registers=2)), noise_photo(101, 67))
    data = explorer_data(look.traced, [look.explain("rollout")])
    layers = [layer_rows(look.traced, layer) for layer in (1, 2, 3)]
    with shown(chromium, tmp_path, data, layers) as page:
        page.check("[data-control=sequence-a]")
        assert "27 tokens" in page.inner_text("[data-caption=a]")
        assert "[CLS] [REG 1] [REG 2]" in page.inner_text("[data-caption=a]")
        places = tokens_on_screen(page, "a")
        assert len(places) == 27
        for token, point in enumerate(places):
            page.mouse.move(*point)
            row, col = divmod(token - 3, 6)
            assert root(page, "patch") == ("" if token < 3 else f"{row},{col}")
        box = page.locator("canvas[data-pane=a]").bounding_box()
        xs, ys = zip(*places, strict=True)
        assert box["x"] < min(xs) < max(xs) < box["x"] + box["width"]
        assert box["y"] < min(ys) < max(ys) < box["y"] + box["height"]
        other = middles(page, "b", data["grid"])
        page.mouse.move(*other[2, 3])
        side = page.evaluate(
            "explorer.panes.a.layout.tokens.side / explorer.panes.a.canvas.width"
        ) * box["width"]  # fmt: skip
        marked = places[3 + 2 * 6 + 3]
        assert min(pixel(page, "a", (marked[0] - side / 2, marked[1]))[:3]) > 200
        page.uncheck("[data-control=sequence-a]")
        page.mouse.move(*middles(page, "a", data["grid"])[1, 4])
        assert root(page, "patch") == "1,4"
        page.select_option("[data-view-menu=a]", "rollout")
        assert not page.locator("[data-control=sequence-a]").is_visible()


def test_above_600_tokens_only_a_pin_asks_for_a_row(
    chromium, make_model, noise_photo, tmp_path, monkeypatch
):
    monkeypatch.setattr(payload, "MOST_TOKENS", 10)
    look = looked(make_model(replace(TINY, registers=2)), noise_photo(101, 67))
    data = explorer_data(look.traced, [look.explain("rollout")])
    layers = [layer_rows(look.traced, layer) for layer in (1, 2, 3)]
    row = patch_rows(look.traced, 3, (2, 4))
    with shown(chromium, tmp_path, data, layers, [row]) as page:
        loaded(page, 3)
        page.select_option("[data-view-menu=b]", "looks_at")
        points = middles(page, "a", data["grid"])
        for point in points.values():
            page.mouse.move(*point)
        page.evaluate("asked.length = 0")
        page.mouse.click(*points[2, 4])
        page.wait_for_function("explorer.maps.single.size === 1")
        assert page.evaluate("asked") == ["patch 3 2 4"]
        assert "loaded" not in page.locator("[data-caption=b]").inner_text()
        assert "Looks at (layer 3" in page.locator(".card").inner_text()


def test_views_are_added_to_a_result_and_replaced(chromium, make_model, noise_photo, tmp_path):
    look = looked(make_model(TINY), noise_photo(101, 67))
    data = explorer_data(look.traced, [look.explain("rollout"), look.explain("relevance")])
    near = torch.eye(24) * 0.5 + 0.5
    shades = torch.zeros(4, 6, 3)
    shades[..., 1] = 1
    added = (
        pairs_view("looks_like", near, "unit.cosine"),
        colours_view("token_colours", shades),
        map_view(look.explain("relevance", target="d", versus="e")),
    )
    layers = [layer_rows(look.traced, layer) for layer in (1, 2, 3)]
    with shown(chromium, tmp_path, data, layers) as page:
        page.select_option("[data-view-menu=b]", "relevance")
        for view in added:
            page.evaluate(f"explorer.addView({json.dumps(view)})")
        caption = page.locator("[data-caption=b]").inner_text()
        assert "Above zero it favors “d”, below zero “e”." in caption
        page.evaluate("explorer.choose({opacity: 1, views: {a: 'looks_like', b: 'token_colours'}})")
        points = middles(page, "a", data["grid"])
        page.mouse.move(*points[1, 2])
        last = page.evaluate("[...explorer.tables.sequential.slice(-3)]")
        assert pixel(page, "a", points[1, 2])[:3] == pytest.approx(last, abs=2)
        assert pixel(page, "a", points[3, 3])[:3] != pytest.approx(last, abs=50)
        other = middles(page, "b", data["grid"])[3, 3]
        assert pixel(page, "b", other)[:3] == [0, 255, 0]
        assert "Most similar tokens (cosine)" in page.locator(".card").inner_text()


def test_a_server_that_fails_is_not_asked_again_by_the_pointer(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        loaded(page, 3)
        page.evaluate(
            "window.asked = []; window.failing = mount(document.querySelector('#host'), "
            "explorer.data, { loadLayer: async (n) => { asked.push(`layer ${n}`); throw n; } })"
        )
        page.wait_for_function("asked.length >= 4")  # every layer, and the chosen one again
        page.wait_for_timeout(300)
        page.evaluate("window.explorer = failing; asked.length = 0")
        for point in middles(page, "a", data["grid"]).values():
            page.mouse.move(*point)
        assert page.evaluate("asked") == []
        page.click("[data-cell='1,2']")
        assert page.evaluate("asked") == ["layer 1"]


def test_another_language_needs_no_other_result(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        loaded(page, 3)
        page.click("[data-cell='1,2']")
        requests = []
        page.on("request", lambda request: requests.append(request.url))
        page.evaluate(f"explorer.setWords({json.dumps(words('zh'))})")
        assert "第 1 层" in page.locator("[data-caption=b]").inner_text()
        assert page.locator("[data-view-menu=a] option").first.inner_text() == "4 × 6 图像块"
        assert (root(page, "layer"), root(page, "head")) == ("1", "2")
        assert requests == []


def test_a_finger_follows_patches_and_the_page_fits_a_phone(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers, size=(390, 844), has_touch=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        one = page.locator("canvas[data-pane=b]").bounding_box()
        other = page.locator("canvas[data-pane=a]").bounding_box()
        assert one["y"] < other["y"]
        page.locator("canvas[data-pane=b]").scroll_into_view_if_needed()
        page.touchscreen.tap(*middles(page, "b", data["grid"])[3, 5])
        assert root(page, "pin") == "3,5"


def test_a_screen_reader_hears_names_and_the_pinned_patch(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        unnamed = page.evaluate(
            "[...document.querySelectorAll('#explorer :is(button, select, input, [data-pane])')]"
            ".filter(e => !(e.ariaLabel || e.closest('label')?.innerText.trim() || e.innerText))"
            ".map(e => e.outerHTML)"
        )
        assert unnamed == []
        page.focus("canvas[data-pane=a]")
        page.keyboard.press("ArrowDown")
        assert "Patch (2, 3)" in page.locator("#explorer [aria-live]").inner_text()


def test_the_layers_play_and_stop_at_the_last(chromium, tiny, tmp_path):
    data, layers = tiny
    with shown(chromium, tmp_path, data, layers) as page:
        page.click("[data-control=play]")
        assert root(page, "layer") == "1"
        page.wait_for_selector("#explorer[data-layer='3']")
        page.wait_for_function("explorer.timer === null")
