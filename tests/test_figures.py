"""Figures: every patch has the right position and color."""

from itertools import combinations, pairwise

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image

from vit_demo.figures import ColourScale, draw_overlay, draw_patches
from vit_demo.figures.curves import draw_comparison, spread
from vit_demo.figures.scores import Tile, draw_contact_sheet
from vit_demo.figures.sheet import DOTS_PER_INCH

WHITE = (255, 255, 255)


def pixel(picture, x, y):
    return np.asarray(picture.convert("RGB"))[y, x].astype(int)


def test_the_scale_is_from_the_minimum_to_the_percentile():
    heatmap = torch.arange(100.0).reshape(10, 10)
    scale = ColourScale.of(heatmap, percentile=90.0)
    assert (scale.low, scale.high, scale.clipped) == (0, pytest.approx(89.1), 10)
    assert ColourScale.of(heatmap, percentile=100.0).clipped == 0


def test_a_signed_scale_is_symmetric():
    scale = ColourScale.of(torch.tensor([[-3.0, 1.0]]), signed=True, percentile=100.0)
    assert (scale.low, scale.high) == (-3, 3)
    middle = scale.colours(torch.zeros(1, 1))[0, 0]
    assert middle.min() > 230


def test_colours_are_those_of_the_map_and_clip_at_the_ends():
    scale = ColourScale(0.0, 1.0, signed=False, clipped=0)
    ends = mpl.colormaps["inferno"]([0.0, 1.0], bytes=True)[:, :3]
    colours = scale.colours(torch.tensor([[-5.0, 0.0, 1.0, 9.0]]))[0]
    assert (colours == ends[[0, 0, 1, 1]]).all()
    assert scale.stops(2) == [
        mpl.colors.to_hex(mpl.colormaps["inferno"](end)) for end in (0.0, 1.0)
    ]


def test_a_flat_map_can_be_drawn():
    flat = torch.full((2, 2), 0.25)
    assert ColourScale.of(flat).colours(flat).shape == (2, 2, 3)


def test_each_patch_is_drawn_at_its_position_in_the_input():
    """One hot patch in the lower right of a box in the middle of a photo."""
    photo = Image.new("RGB", (100, 60), WHITE)
    heatmap = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    scale = ColourScale(0.0, 1.0, signed=False, clipped=0)
    drawn = draw_overlay(photo, heatmap, (20.0, 0.0, 80.0, 60.0), scale, opacity=1.0, long_side=100)
    hot, cold = mpl.colormaps["inferno"]([1.0, 0.0], bytes=True)[:, :3]
    assert drawn.size == (100, 60)
    assert (pixel(drawn, 51, 31) == hot).all()
    assert (pixel(drawn, 79, 59) == hot).all()
    assert (pixel(drawn, 49, 31) == cold).all()
    assert (pixel(drawn, 51, 29) == cold).all()
    assert (pixel(drawn, 10, 30) < 100).all()
    assert (pixel(drawn, 90, 30) < 100).all()


def test_a_box_beyond_the_photo_is_clipped():
    photo = Image.new("RGB", (40, 40), WHITE)
    scale = ColourScale(0.0, 1.0, signed=False, clipped=0)
    heatmap = torch.tensor([[0.0, 1.0]])
    drawn = draw_overlay(
        photo, heatmap, (-10.0, -10.0, 50.0, 50.0), scale, opacity=1.0, long_side=40
    )
    hot, cold = mpl.colormaps["inferno"]([1.0, 0.0], bytes=True)[:, :3]
    assert (pixel(drawn, 19, 20) == cold).all()
    assert (pixel(drawn, 20, 20) == hot).all()


def test_a_patch_beyond_the_input_keeps_its_size_and_is_clipped():
    """Three patches of 20 from x = 20; the input ends at 70, so the last patch is halved."""
    photo = Image.new("RGB", (100, 40), WHITE)
    scale = ColourScale(0.0, 1.0, signed=False, clipped=0)
    drawn = draw_overlay(
        photo,
        torch.tensor([[0.0, 0.0, 1.0]]),
        (20.0, 0.0, 80.0, 40.0),
        scale,
        input_box=(20.0, 0.0, 70.0, 40.0),
        opacity=1.0,
        long_side=100,
    )
    hot, cold = mpl.colormaps["inferno"]([1.0, 0.0], bytes=True)[:, :3]
    assert (pixel(drawn, 59, 20) == cold).all()
    assert (pixel(drawn, 60, 20) == hot).all()
    assert (pixel(drawn, 69, 20) == hot).all()
    assert (pixel(drawn, 72, 20) == pixel(drawn, 10, 20)).all()


def test_smoothing_is_optional_and_changes_only_the_edges():
    photo = Image.new("RGB", (64, 64))
    heatmap = torch.tensor([[0.0, 1.0]])
    scale = ColourScale(0.0, 1.0, signed=False, clipped=0)

    def colours(smooth):
        drawn = draw_overlay(photo, heatmap, (0.0, 0.0, 64.0, 64.0), scale, smooth=smooth)
        return len(drawn.getcolors(maxcolors=drawn.width * drawn.height))

    assert colours(smooth=False) == 2
    assert colours(smooth=True) > 20


def test_patches_are_the_pixels_of_the_input():
    """Every tile of the sheet, reduced again, is that patch; the gaps are transparent."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (50, 36, 3), dtype=np.uint8)
    sheet = np.asarray(draw_patches(Image.fromarray(pixels), 16, (3, 2), zoom=2, gap=3))
    assert sheet.shape == (3 * 35 - 3, 2 * 35 - 3, 4)
    for row in range(3):
        for col in range(2):
            tile = sheet[row * 35 : row * 35 + 32, col * 35 : col * 35 + 32]
            patch = pixels[row * 16 : row * 16 + 16, col * 16 : col * 16 + 16]
            assert (tile[::2, ::2, :3] == patch).all()
            assert (tile[1::2, 1::2, :3] == patch).all()
    assert (sheet[32:35, :, 3] == 0).all()
    assert (sheet[:, 32:35, 3] == 0).all()


def test_padding_is_transparent():
    """A picture of 10 × 6 in patches of 4: the third column is half real, the second row too."""
    picture = Image.new("RGB", (10, 6), WHITE)
    alpha = np.asarray(draw_patches(picture, 4, (2, 3), zoom=1, gap=1))[..., 3]
    assert alpha.shape == (9, 14)
    assert (alpha.sum(axis=0) // 255).tolist() == [6, 6, 6, 6, 0, 6, 6, 6, 6, 0, 6, 6, 0, 0]
    assert (alpha.sum(axis=1) // 255).tolist() == [10, 10, 10, 10, 0, 10, 10, 0, 0]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([3.0, 1.0], [3.0, 1.0]),  # far enough apart: as they were
        ([5.0, 5.5], [5.0, 7.0]),  # the upper one goes up
        ([5.0, 5.0, 4.0], [6.0, 8.0, 4.0]),  # of two alike the first stays below
        ([9.0, 9.5, 1.0], [8.0, 10.0, 1.0]),  # at the top the lower one goes down
    ],
)
def test_positions_are_at_least_two_apart_and_at_most_ten(places, expected):
    assert spread(places, 2.0, 10.0) == expected


@pytest.mark.parametrize("seed", range(20))
def test_positions_keep_their_order_and_their_gap(seed):
    places = torch.rand(6, generator=torch.Generator().manual_seed(seed)).tolist()
    apart = spread(places, 0.1, 1.0)
    order = sorted(range(6), key=lambda number: places[number])
    assert all(apart[b] - apart[a] > 0.1 - 1e-9 for a, b in pairwise(order))
    assert max(apart) <= 1


@pytest.mark.parametrize("dots_per_inch", [72, DOTS_PER_INCH])
@pytest.mark.parametrize(
    "ends", [(0.951, 0.948), (0.5, 0.5), (0.0, 0.01), (1.0, 1.0, 1.0), (1.0, 0.99, 0.2)]
)
def test_labels_do_not_overlap_or_leave_the_axes(ends, dots_per_inch):
    runs = {f"run {number}": [0.3, 0.4, end] for number, end in enumerate(ends)}
    figure = draw_comparison(runs)
    figure.set_dpi(dots_per_inch)
    figure.canvas.draw()
    (axes,) = figure.axes
    labels = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert list(labels) == [f"run {number} {end:.1%}" for number, end in enumerate(ends)]
    boxes = list(labels.values())
    inside = axes.get_window_extent()
    for box in boxes:
        assert inside.y0 <= box.y0 < box.y1 <= inside.y1
        assert inside.x0 <= box.x0 < box.x1 <= inside.x1
    for (one, first), (other, second) in combinations(zip(ends, boxes, strict=True), 2):
        assert not first.overlaps(second)
        assert one == other or (one > other) == (first.y0 > second.y0)


@pytest.mark.parametrize(("photos", "across"), [(1, 1), (2, 2), (4, 4), (5, 4)])
def test_a_contact_sheet_is_as_large_as_its_photos(photos, across):
    """A single photo fills its page; the heading stays on the page."""
    tile = Tile(Image.new("RGB", (40, 40), "black"), "is roses\nsaid daisy")
    figure = draw_contact_sheet("1 of 1 mistakes, the surest first", [tile] * photos)
    width, _ = figure.get_size_inches()
    assert width / across < 4
    figure.canvas.draw()
    heading = figure.texts[0].get_window_extent()
    assert heading.x0 >= 0
    assert heading.x1 <= width * figure.dpi
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    black = (drawn == 0).all(axis=-1).any(axis=0).nonzero()[0]
    assert black.max() - black.min() > (0.6 if photos == 1 else 0.8) * drawn.shape[1]
