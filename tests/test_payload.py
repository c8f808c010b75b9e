"""The explorer's data object: what was encoded is what the trace says."""

import base64
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from vit_demo import load, prepare
from vit_demo.analysis import PreparedPhoto
from vit_demo.checkpoints import Checkpoint
from vit_demo.errors import MethodError, OptionError
from vit_demo.explanations import run_with_trace
from vit_demo.explanations.attention import attention
from vit_demo.explanations.queries import patch_attention
from vit_demo.figures import ColourScale
from vit_demo.models.swin import Swin, SwinConfig
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
from vit_demo.ui.explorer.words import LANGUAGES, words

VARIANTS = {
    "class token": {},
    "registers": {"registers": 3},
    "distilled": {"distilled": True},
    "mean of the patches": {"registers": 2, "pooling": "mean"},
    "attention pooling": {"class_token": False, "pooling": "attention"},
    "rectangle": {"image_size": (32, 48)},
}
SWIN = SwinConfig(3, width=8, depths=(1,), heads=(2,), windows=((4, 4),), image_size=(32, 32))


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def look(request, tiny_config, make_model, noise_photo):
    return looked(make_model(replace(tiny_config, **request.param)), noise_photo(101, 67))


def looked(model, photo):
    preprocessing = Preprocessing(resize=model.config.image_size)
    labels = tuple(f"class {number}" for number in range(model.config.classes))
    checkpoint = Checkpoint("tiny", None, "ViT", "ours", model, labels, preprocessing)
    return PreparedPhoto(checkpoint, preprocessing(photo))


def decoded(rows, shape, deflated=False):
    """Values of rows as a page decodes them, and the maximum of each row."""
    content = base64.b64decode(rows["bytes"])
    content = zlib.decompress(content) if deflated else content
    scales = np.frombuffer(base64.b64decode(rows["scales"]), np.float32).reshape(shape[:-1])
    values = np.frombuffer(content, np.uint8).reshape(shape) / 255 * scales[..., None]
    return torch.from_numpy(values), torch.from_numpy(scales.copy())


def assert_within_a_step(found, most, expected):
    assert (found - expected).abs().max() <= float(most) / 255


def test_read_out_rows_are_those_of_the_method_attention(look):
    data = explorer_data(look.traced, [look.explain("rollout")])
    rows, cols = data["grid"]
    found, most = decoded(data["rows"], (data["layers"], data["rows"]["heads"] + 1, rows * cols))
    target = torch.tensor([0])
    for layer in range(data["layers"]):
        for head in range(data["heads"][layer] + 1):
            expected = attention(look.traced, target, layer=layer + 1, head=head).flatten()
            assert_within_a_step(found[layer, head], most[layer, head], expected)


def test_rows_of_a_layer_are_those_of_every_patch(look):
    sent = layer_rows(look.traced, 2)
    rows, cols = look.traced.grid
    found, most = decoded(sent, (sent["heads"] + 1, rows * cols, rows * cols), deflated=True)
    read, read_most = decoded(sent["read"], (sent["heads"] + 1, rows * cols), deflated=True)
    for head in range(sent["heads"] + 1):
        for patch in ((0, 0), (rows - 1, cols - 2)):
            number = patch[0] * cols + patch[1]
            expected = patch_attention(look.traced, patch, 2, head).flatten()
            assert_within_a_step(found[head, number], most[head, number], expected)
        expected = attention(look.traced, torch.tensor([0]), layer=2, head=head).flatten()
        assert_within_a_step(read[head], read_most[head], expected)


def test_one_patch_has_the_same_row(look):
    sent = patch_rows(look.traced, 1, (1, 2))
    rows, cols = look.traced.grid
    found, most = decoded(sent, (sent["heads"] + 1, rows * cols), deflated=True)
    expected = patch_attention(look.traced, (1, 2), 1, 3).flatten()
    assert_within_a_step(found[3], most[3], expected)


def test_maps_are_sent_as_they_are_with_the_scale_of_the_figures(look):
    analysis = look.explain("relevance", versus="class 1", target="class 0")
    views = explorer_data(look.traced, [analysis])["views"]
    view = next(view for view in views if view["name"] == "relevance")
    sent = np.frombuffer(base64.b64decode(view["values"]), np.float32)
    np.testing.assert_array_equal(sent, analysis.heatmap.flatten().numpy())
    scale = ColourScale.of(analysis.heatmap, signed=True)
    assert (view["low"], view["high"], view["signed"]) == (scale.low, scale.high, True)
    assert view["label"]["key"] == "view.relevance.versus"


def test_pairs_are_within_a_step_and_colours_are_rounded():
    pairs = torch.rand(12, 12) * 2 - 1
    view = pairs_view("looks_like", pairs, "unit.cosine")
    sent = np.frombuffer(base64.b64decode(view["bytes"]), np.uint8).reshape(12, 12)
    found = view["least"] + torch.from_numpy(sent / 255) * (view["most"] - view["least"])
    assert (found - pairs).abs().max() <= (view["most"] - view["least"]) / 255
    shades = colours_view("token_colours", torch.tensor([[[0.0, 0.5, 1.0], [2.0, -1.0, 0.25]]]))
    assert list(base64.b64decode(shades["bytes"])) == [0, 128, 255, 255, 0, 64]


def test_a_map_for_every_patch_is_within_a_step_of_its_row():
    rows = torch.rand(24, 24)
    rows /= rows.sum(dim=1, keepdim=True)
    view = rows_view("through_depth", rows, (4, 6), exact=False)
    found, most = decoded(view, (24, 24))
    for row in range(24):
        assert_within_a_step(found[row], most[row], rows[row])
    assert view["caption"][-1] == {"key": "caption.approximate"}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["CLS"]),
        ({"registers": 2}, ["CLS", "REG 1", "REG 2"]),
        ({"distilled": True}, ["CLS", "DIST"]),
        ({"class_token": False, "pooling": "mean", "registers": 1}, ["REG"]),
        ({"class_token": False, "pooling": "attention"}, []),
    ],
)
def test_tokens_before_the_patches_are_named(changes, names, tiny_config, make_model, noise_photo):
    look = looked(make_model(replace(tiny_config, **changes)), noise_photo(40, 40))
    data = explorer_data(look.traced, [look.explain()])
    assert data["prefix_names"] == names
    assert data["prefix"] == len(names)


def test_the_control_stands_last_in_the_menu(look):
    names = [view["name"] for view in explorer_data(look.traced, [look.explain()])["views"]]
    assert names[:2] == ["patches", "rollout"]
    assert names[-1] == "random"
    assert {"through_depth", "looks_like", "looks_at"} <= set(names)


def test_a_small_photo_is_said_to_be_small(look, tiny_model, noise_photo):
    captions = [looked(tiny_model, noise_photo(side, side)).explain() for side in (3, 40)]
    traced = look.traced
    said = [
        [text["key"] for text in explorer_data(traced, [each])["views"][0]["caption"]]
        for each in captions
    ]
    assert said == [["caption.patches", "caption.small"], ["caption.patches"]]


def test_a_map_can_be_sent_by_itself(look):
    analysis = look.explain("relevance")
    assert map_view(analysis) == explorer_data(look.traced, [look.explain(), analysis])["views"][2]


def test_colours_are_those_of_the_figures(look):
    data = explorer_data(look.traced, [look.explain()])
    table = np.frombuffer(base64.b64decode(data["colours"]["sequential"]), np.uint8)
    ends = ColourScale(0.0, 1.0, False, 0).colours(torch.tensor([[0.0, 1.0]]))[0]
    np.testing.assert_array_equal(table.reshape(-1, 3)[[0, -1]], ends)


@pytest.mark.parametrize(
    ("changes", "reader", "prefix"),
    [
        ({}, "reader.class", 1),
        ({"registers": 3}, "reader.class", 4),
        ({"distilled": True}, "reader.distilled", 2),
        ({"class_token": False, "pooling": "mean"}, "reader.read_out", 0),
    ],
)
def test_the_data_say_who_reads_and_where_the_patches_begin(
    changes, reader, prefix, tiny_config, make_model, noise_photo
):
    look = looked(make_model(replace(tiny_config, **changes)), noise_photo(40, 40))
    data = explorer_data(look.traced, [look.explain()])
    assert (data["rows"]["reader"], data["prefix"]) == (reader, prefix)
    assert data["tokens"] == prefix + 16


def test_an_architecture_without_rows_says_so_and_still_shows_its_maps(noise_photo):
    look = looked(Swin(SWIN).eval(), noise_photo(40, 40))
    data = explorer_data(look.traced, [look.explain("rollout")])
    views = {view["name"]: view for view in data["views"]}
    assert data["rows"] is None
    assert views["attention"]["reason"] == views["looks_at"]["reason"] == {"key": "reason.no_rows"}
    assert "reason" not in views["rollout"]
    assert views["rollout"]["caption"][0] == {"key": "caption.rollout.read_out"}
    with pytest.raises(MethodError, match="no row of its own"):
        layer_rows(look.traced, 1)


def test_what_is_asked_for_and_is_not_there_is_refused(tiny_model):
    traced = run_with_trace(tiny_model, torch.randn(1, 3, 32, 32))
    with pytest.raises(OptionError, match="layers 1 to 3"):
        layer_rows(traced, 4)
    with pytest.raises(OptionError, match="rows are 0 to 3"):
        patch_rows(traced, 1, (4, 0))


def test_of_many_tokens_a_layer_sends_the_read_out_only(tiny_model, monkeypatch):
    monkeypatch.setattr(payload, "MOST_TOKENS", 16)
    traced = run_with_trace(tiny_model, torch.randn(1, 3, 32, 32))
    sent = layer_rows(traced, 1)
    assert "bytes" not in sent
    assert decoded(sent["read"], (4, 16), deflated=True)[0].shape == (4, 16)


def test_rows_that_would_be_too_much_are_sent_as_means(look, monkeypatch):
    monkeypatch.setattr(payload, "ROWS_BYTES", 100)
    data = explorer_data(look.traced, [look.explain()])
    assert data["rows"]["heads"] == 0
    rows, cols = data["grid"]
    found, most = decoded(data["rows"], (3, 1, rows * cols))
    expected = attention(look.traced, torch.tensor([0]), layer=3).flatten()
    assert_within_a_step(found[2, 0], most[2, 0], expected)


@pytest.mark.parametrize("size", [(600, 100), (100, 400), (80, 80)])
def test_the_grid_lies_on_the_sent_picture_where_it_lies_on_the_photo(
    size, tiny_model, noise_photo
):
    preprocessing = Preprocessing(resize=32, crop=(32, 32))
    checkpoint = Checkpoint("tiny", None, "ViT", "ours", tiny_model, tuple("abcde"), preprocessing)
    look = prepare(checkpoint, noise_photo(*size))
    analysis = look.explain()
    photo = explorer_data(look.traced, [analysis])["photo"]
    left, top, right, bottom = photo["crop"]["grid"]
    box = analysis.grid_box
    assert (right - left) / (bottom - top) * photo["crop"]["aspect"] == pytest.approx(
        (box[2] - box[0]) / (box[3] - box[1]), rel=1e-3
    )
    assert min(left, top) >= -1e-9
    assert max(right, bottom) <= 1 + 1e-9
    assert ("whole" in photo) == (size != (80, 80))


def test_the_first_answer_of_the_bundled_checkpoint_stays_under_150_kb():
    look = prepare(load("flowers"), ASSETS / "examples" / "dahlia.jpg")
    analyses = [look.explain(name) for name in ("rollout", "relevance", "legrad")]
    data = explorer_data(look.traced, analyses)
    for language in LANGUAGES:
        sent = json.dumps({**data, "words": words(language)}, ensure_ascii=False)
        assert len(sent.encode()) < 150_000


def test_every_text_is_in_the_tables_with_its_parameters(look):
    data = explorer_data(look.traced, [look.explain(), look.explain("relevance")])
    texts = []

    def collect(content):
        if isinstance(content, dict):
            if "key" in content:
                texts.append(content)
            for value in content.values():
                collect(value)
        elif isinstance(content, list):
            for value in content:
                collect(value)

    collect(data["views"])
    assert texts
    for text in texts:
        assert "{" not in words()[text["key"]].format(**text.get("parameters", {}))
