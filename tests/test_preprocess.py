"""The model's input, and its position on the photo."""

import hostile
import numpy as np
import pytest
import torch
from PIL import Image

from vit_demo.errors import ConfigError
from vit_demo.preprocess import Prepared, Preprocessing, enlargement

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def position_photo(width: int, height: int) -> Image.Image:
    """A photo whose red value is the column and whose green value is the row."""
    across = np.broadcast_to(np.arange(width)[None, :], (height, width))
    down = np.broadcast_to(np.arange(height)[:, None], (height, width))
    return Image.fromarray(np.stack([across, down, 0 * down], axis=-1).astype(np.uint8))


def test_an_exact_resize_covers_the_whole_photo():
    prepared = Preprocessing(resize=(24, 40))(position_photo(101, 67))
    assert prepared.pixels.shape == (1, 3, 24, 40)
    assert prepared.picture.size == (40, 24)
    assert prepared.box == (0, 0, 101, 67)


@pytest.mark.parametrize(
    ("photo", "size", "box"),
    [
        ((200, 100), (64, 32), (50, 0, 150, 100)),
        ((100, 200), (32, 64), (0, 50, 100, 150)),
        ((96, 96), (32, 32), (0, 0, 96, 96)),
    ],
)
def test_the_box_of_a_center_crop_is_its_position_on_the_photo(photo, size, box):
    """The shorter side becomes 32; the center 32×32 is a square of the photo's shorter side."""
    wide = Preprocessing(resize=32, crop=None)(position_photo(*photo))
    assert wide.picture.size == size
    assert wide.box == (0, 0, *photo)
    prepared = Preprocessing(resize=32, crop=(32, 32))(position_photo(*photo))
    assert prepared.picture.size == (32, 32)
    assert prepared.box == pytest.approx(box)


@pytest.mark.parametrize(
    ("photo", "resize", "size"),
    [((101, 60), 32, (53, 32)), ((60, 101), 32, (32, 53)), ((333, 500), 256, (256, 384))],
)
def test_the_longer_side_is_rounded_down(photo, resize, size):
    """32·101/60 = 53.9 and 256·500/333 = 384.4, cut to whole pixels as torchvision does."""
    assert Preprocessing(resize=resize)(position_photo(*photo)).picture.size == size


def test_the_box_of_a_crop_contains_exactly_the_cropped_pixels():
    """Without a resize, the color of each pixel is its position on the photo."""
    prepared = Preprocessing(resize=None, crop=(20, 31))(position_photo(101, 67))
    left, top, right, bottom = prepared.box
    cropped = np.asarray(prepared.picture)
    assert (cropped[0, 0, 0], cropped[0, 0, 1]) == (left, top)
    assert (cropped[-1, -1, 0] + 1, cropped[-1, -1, 1] + 1) == (right, bottom)
    assert (right - left, bottom - top) == (31, 20)


def test_a_crop_larger_than_the_picture_is_black_outside_it():
    """40 wide, 30 high, in a 50×50 crop: 5 black columns per side, 10 rows above and below."""
    white = Image.new("RGB", (40, 30), "white")
    prepared = Preprocessing(resize=None, crop=(50, 50))(white)
    assert prepared.box == (-5, -10, 45, 40)
    values = np.asarray(prepared.picture)[..., 0]
    assert values[10:40, 5:45].min() == 255
    assert values.sum() == 255 * 30 * 40


def test_a_crop_can_be_larger_than_the_picture_on_one_axis_only():
    prepared = Preprocessing(resize=None, crop=(50, 20))(Image.new("RGB", (40, 30), "white"))
    assert prepared.box == (10, -10, 30, 40)


def test_the_box_scales_with_the_photo():
    """Half-size picture 100×60, crop 40×40 at (30, 10): (60, 20)–(140, 100) on the photo."""
    prepared = Preprocessing(resize=(60, 100), crop=(40, 40))(position_photo(200, 120))
    assert prepared.box == pytest.approx((60, 20, 140, 100))


def test_patches_that_fill_the_input_cover_the_box():
    prepared = Preprocessing(resize=(24, 40))(position_photo(101, 67))
    assert prepared.grid_box((3, 5), 8) == pytest.approx(prepared.box)


def test_pixels_beyond_the_last_whole_patch_are_not_covered():
    """Input 40 wide, 30 high, patches of 8: 5 columns cover all, 3 rows cover 24 of 30 pixels."""
    prepared = Preprocessing(resize=(30, 40))(position_photo(200, 100))
    assert prepared.grid_box((3, 5), 8) == pytest.approx((0, 0, 200, 80))


def test_patches_of_a_padded_input_extend_beyond_the_photo():
    """Input 40 wide, 30 high, padded to 3 × 2 patches of 16: 48 for 40 across, 32 for 30 down.

    The third column begins at 32 of 40, four fifths across a photo of 200: at 160.
    """
    prepared = Preprocessing(resize=(30, 40))(position_photo(200, 90))
    left, top, right, bottom = prepared.grid_box((2, 3), 16)
    assert (left, top, right, bottom) == pytest.approx((0, 0, 240, 96))
    assert left + 2 * (right - left) / 3 == pytest.approx(160)


def test_the_grid_is_inside_the_crop():
    """Crop 36×36 of the middle of 100×60: (32, 12)–(68, 48); 4 patches of 8 cover 32 of 36."""
    prepared = Preprocessing(resize=None, crop=(36, 36))(position_photo(100, 60))
    assert prepared.box == (32, 12, 68, 48)
    assert prepared.grid_box((4, 4), 8) == pytest.approx((32, 12, 64, 44))


def test_values_are_scaled_then_centered_then_divided():
    photo = Image.new("RGB", (2, 2), (255, 51, 0))
    pixels = Preprocessing(resize=None, mean=MEAN, std=STD)(photo).pixels[0, :, 0, 0]
    by_hand = [(1 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0 - 0.406) / 0.225]
    assert pixels.tolist() == pytest.approx(by_hand, rel=1e-6)
    plain = Preprocessing(resize=None, scale=1.0, mean=None, std=None)(photo).pixels
    assert plain.dtype == torch.float32
    assert plain[0, :, 1, 1].tolist() == [255, 51, 0]


def test_resizing_uses_pillow_with_the_given_filter(noise_photo):
    photo = noise_photo(101, 67)
    for resample in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS):
        resized = Preprocessing(resize=(24, 40), resample=resample)(photo).picture
        assert np.array_equal(np.asarray(resized), np.asarray(photo.resize((40, 24), resample)))


def test_the_photo_is_not_changed(noise_photo):
    photo = noise_photo(50, 40)
    before = np.asarray(photo).copy()
    prepared = Preprocessing(resize=(16, 16))(photo)
    assert isinstance(prepared, Prepared)
    assert prepared.photo is photo
    assert np.array_equal(np.asarray(photo), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": None}, "give both or neither"),
        ({"std": None}, "give both or neither"),
        ({"std": (0.2, 0.0, 0.2)}, "would divide by zero"),
        ({"resize": (0, 5)}, r"resize=\(0, 5\), but every side must be 1"),
        ({"resize": 0}, "resize=0, but every side must be 1"),
        ({"crop": (5, -1)}, r"crop=\(5, -1\), but every side must be 1"),
        ({"crop": (5, 2**70)}, r"crop=.*, but a side has at most 4096 pixels"),
        ({"crop": (1, 2, 3)}, r"crop=\(1, 2, 3\), but it must be a height and a width"),
        ({"crop": 5}, "crop=5, but it must be a height and a width, in whole"),
        ({"resize": (8.5, 8)}, r"resize=\(8.5, 8\), but it must be a height and a width, or one"),
        ({"resize": True}, "resize=True, but it must be a height and a width, or one side"),
        ({"scale": "x"}, "scale='x', but it must be a finite number"),
        ({"scale": 10**400}, "scale=.*, but it must be a finite number"),
        ({"scale": 0.0}, "scale=0.0, but it must lie between 1e-06"),
        ({"std": (0.2, 1e-320, 0.2)}, "std=1e-320, but it must lie between 1e-06"),
        ({"std": (0.2, 0.2)}, r"std=\(0.2, 0.2\), but it must be one number for each color"),
        ({"mean": (0.2, float("nan"), 0.2)}, "mean=nan, but it must be a finite number"),
        ({"mean": (0.2, 1e30, 0.2)}, r"mean=1e\+30, but it must lie between"),
        ({"bgr": 1}, "bgr=1, but it must be true or false"),
    ],
)
def test_preprocessing_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        hostile.remade(Preprocessing((8, 8)), **changes)


def test_an_extremely_narrow_photo_is_refused_before_it_exhausts_the_memory():
    from vit_demo.errors import PhotoError

    with pytest.raises(PhotoError, match="1 × 3000 pixels is too narrow"):
        Preprocessing(resize=224)(Image.new("RGB", (1, 3000)))


def test_the_enlargement_is_the_larger_one_of_both_directions():
    assert enlargement((0.0, 0.0, 12.0, 9.0), (36, 36)) == 4
    assert enlargement((0.0, 0.0, 12.0, 36.0), (36, 36)) == 3
    assert enlargement((50.0, 0.0, 150.0, 100.0), (25, 25)) == 0.25
