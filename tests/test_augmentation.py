"""Random views stay within their bounds; photos and targets are mixed in the same proportion."""

from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from vit_demo.data.augmentation import FILL, OPERATIONS, Augmentation, input_size, mix
from vit_demo.errors import ConfigError, DataError
from vit_demo.preprocess import Preprocessing

SQUEEZE = Preprocessing(resize=(16, 24))
STRONG = Augmentation(contrast=0.3, num_ops=2, magnitude=9.0, erase=0.5)
STILL = Augmentation(area=(1.0, 1.0), aspect=(1.5, 1.5), brightness=0.0, saturation=0.0)


@pytest.fixture
def seeded_rng():
    return Random(0)


@pytest.mark.parametrize("size", [(100, 60), (5, 90), (3, 3)])
def test_an_augmented_view_has_the_size_that_the_model_reads(noise_photo, seeded_rng, size):
    photo = noise_photo(*size)
    for _ in range(20):
        assert Augmentation()(photo, SQUEEZE, seeded_rng).size == (24, 16)


def test_views_are_inside_the_photo_with_the_given_area_and_aspect(seeded_rng):
    augmentation = Augmentation(area=(0.35, 0.6), aspect=(3 / 4, 4 / 3))
    shares, aspects = [], []
    for _ in range(300):
        left, top, right, bottom = augmentation._box(Image.new("RGB", (120, 100)), seeded_rng)
        assert 0 <= left < right <= 120 + 1e-9
        assert 0 <= top < bottom <= 100 + 1e-9
        shares.append((right - left) * (bottom - top) / 12_000)
        aspects.append((right - left) / (bottom - top))
    assert 0.35 - 1e-9 <= min(shares) < 0.4
    assert 0.55 < max(shares) <= 0.6 + 1e-9
    assert 0.75 - 1e-9 <= min(aspects) < 0.85
    assert 1.2 < max(aspects) <= 4 / 3 + 1e-9


def test_half_of_the_views_are_mirrored(seeded_rng):
    """Red is left of blue; in about half of the views it is on the right."""
    photo = Image.new("RGB", (24, 16), (255, 0, 0))
    photo.paste((0, 0, 255), (12, 0, 24, 16))
    still = Augmentation(area=(1.0, 1.0), aspect=(1.5, 1.5), brightness=0.0, saturation=0.0)
    mirrored = [still(photo, SQUEEZE, seeded_rng).getpixel((2, 8))[2] > 128 for _ in range(200)]
    assert 70 < sum(mirrored) < 130


def test_color_jitter_stays_within_its_bounds(seeded_rng):
    grey = Image.new("RGB", (24, 16), (100, 100, 100))
    lit = [
        Augmentation(brightness=0.3)(grey, SQUEEZE, seeded_rng).getpixel((5, 5))[0]
        for _ in range(200)
    ]
    assert 69 <= min(lit) < 80
    assert 120 < max(lit) <= 130
    red = Image.new("RGB", (24, 16), (150, 100, 100))
    only = Augmentation(brightness=0.0, saturation=0.5)
    seen = [only(red, SQUEEZE, seeded_rng).getpixel((5, 5)) for _ in range(100)]
    spread = [r - g for r, g, _ in seen]
    assert 24 <= min(spread) < 35
    assert 65 < max(spread) <= 76


def test_the_same_seed_gives_the_same_view(noise_photo):
    photo = noise_photo(50, 40)
    views = []
    for seed in (5, 5, 6):
        views.append(np.asarray(STRONG(photo, SQUEEZE, Random(seed))))
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("by", [-1.0, -0.3, 0.0, 0.5, 1.0])
def test_every_operation_gives_a_picture_of_the_same_size(noise_photo, operation, by):
    view = operation(noise_photo(30, 20), by)
    assert (view.size, view.mode) == ((30, 20), "RGB")


def test_most_operations_do_nothing_at_strength_zero_and_change_the_picture_otherwise(noise_photo):
    """All except autocontrast and equalize, which have no strength."""
    photo = noise_photo(30, 20)
    same = [np.array_equal(np.asarray(photo), np.asarray(o(photo, 0.0))) for o in OPERATIONS]
    assert same.count(False) <= 2
    changed = [not np.array_equal(np.asarray(photo), np.asarray(o(photo, 1.0))) for o in OPERATIONS]
    assert changed.count(False) <= 2  # leaving all as it is; a contrast that is full already


def test_an_erased_rectangle_is_gray_with_the_given_area(seeded_rng):
    white = Image.new("RGB", (24, 16), (255, 255, 255))
    erasing = Augmentation(
        area=(1.0, 1.0), aspect=(1.5, 1.5), brightness=0.0, saturation=0.0, erase=1.0,
        erased_area=(0.2, 0.4),
    )  # fmt: skip
    for _ in range(50):
        seen = np.asarray(erasing(white, SQUEEZE, seeded_rng))
        grey = (seen == FILL).all(axis=2)
        assert (seen[~grey] == 255).all()
        assert 0.12 < grey.mean() < 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"area": (0.0, 1.0)}, "two increasing numbers above 0"),
        ({"area": (0.5, 0.2)}, "two increasing numbers"),
        ({"area": (0.5, 1.2)}, "must not exceed 1"),
        ({"brightness": 1.5}, r"brightness=1.5, but it must lie in \[0, 1\]"),
        ({"erase": -0.1}, "erase=-0.1"),
        ({"num_ops": -1}, "num_ops=-1"),
        ({"magnitude": 11.0}, "from 0 to 10"),
    ],
)
def test_invalid_values_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        Augmentation(**change)


PIXELS = torch.arange(4.0)[:, None, None, None].expand(4, 3, 8, 10).clone()
TARGETS = torch.eye(4)


def test_disabled_mixing_changes_nothing(seeded_rng):
    pixels, targets = mix(PIXELS, TARGETS, 0.0, 0.0, seeded_rng)
    assert pixels is PIXELS
    assert targets is TARGETS


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.5, 0.5)])
def test_targets_are_mixed_in_the_proportion_of_the_pixels(seeded_rng, mixup, cutmix):
    """Photo k is k everywhere, so its mean is the target's mean class, and every target sums to
    one."""
    for _ in range(40):
        pixels, targets = mix(PIXELS, TARGETS, mixup, cutmix, seeded_rng)
        assert torch.allclose(targets.sum(dim=1), torch.ones(4))
        assert torch.allclose(pixels.mean(dim=(1, 2, 3)), targets @ torch.arange(4.0), atol=1e-5)


def test_cutmix_pastes_a_rectangle_and_mixup_blends(seeded_rng):
    pixels, _ = mix(PIXELS, TARGETS, 0.0, 1.0, seeded_rng)
    assert set(pixels.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}
    pixels, _ = mix(PIXELS, TARGETS, 1.0, 0.0, seeded_rng)
    assert all(len(photo.unique()) == 1 for photo in pixels)


def test_the_input_size_is_the_crop_or_the_exact_resize():
    assert input_size(SQUEEZE) == (16, 24)
    assert input_size(Preprocessing(resize=40, crop=(32, 24))) == (32, 24)
    for open_ended in (Preprocessing(resize=40), Preprocessing(resize=None)):
        with pytest.raises(DataError, match="add a crop to the preprocessing"):
            input_size(open_ended)
