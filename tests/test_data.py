"""Folders of photos: found, split fairly, and seen at random but at the right size."""

import numpy as np
import pytest
import torch
from PIL import Image

from vit_demo.errors import DataError
from vit_demo.preprocess import Preprocessing
from vit_demo.training.data import Augmentation, PhotoFolder, Photos, input_size, scan, split

SQUEEZE = Preprocessing(resize=(16, 24))


@pytest.fixture
def folder(tmp_path):
    """Three classes of 20, 10 and 3 photos, one of them a folder deeper, and things to ignore."""
    for label, count in (("tulips", 20), ("daisy", 10), ("roses", 3)):
        for number in range(count):
            deeper = tmp_path / label / "more" if number == 0 else tmp_path / label
            deeper.mkdir(parents=True, exist_ok=True)
            colour = (10 * number, 20, 30)
            suffix = "JPG" if number == 1 else "png"
            kind = "JPEG" if number == 1 else "PNG"
            Image.new("RGB", (12, 9), colour).save(deeper / f"{number:02}.{suffix}", kind)
    (tmp_path / "tulips" / "notes.txt").write_text("no photo", encoding="utf-8")
    (tmp_path / "LICENSE.txt").write_text("no class", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_classes_are_the_folders_with_photos_in_alphabetical_order(folder):
    photos = scan(folder)
    assert photos.labels == ("daisy", "roses", "tulips")
    assert [label for _, label in photos.samples] == [0] * 10 + [1] * 3 + [2] * 20
    for path, label in photos.samples:
        assert path.relative_to(folder).parts[0] == photos.labels[label]
        assert path.suffix in (".png", ".JPG")


def test_scanning_twice_gives_the_same_order(folder):
    assert scan(folder) == scan(folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"no folder '.*gone'; name one with a sub-folder per class"
    ):
        scan(tmp_path / "gone")


@pytest.mark.parametrize("classes", [0, 1])
def test_fewer_than_two_classes_are_refused(tmp_path, classes):
    for number in range(classes):
        (tmp_path / str(number)).mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / str(number) / "a.png")
    (tmp_path / "no photos").mkdir()
    with pytest.raises(DataError, match=f"photos of {classes} classes and at least 2 are needed"):
        scan(tmp_path)


def test_every_class_gives_up_the_same_share(folder):
    photos = scan(folder)
    training, kept = split(photos, held_out=0.2, seed=0)
    assert set(training) | set(kept) == set(photos.samples)
    assert not set(training) & set(kept)
    assert len(training) + len(kept) == len(photos.samples)
    assert [sum(label == c for _, label in kept) for c in range(3)] == [2, 1, 4]


def test_the_seed_decides_who_is_held_out(folder):
    photos = scan(folder)
    assert split(photos, 0.2, seed=3) == split(photos, 0.2, seed=3)
    assert len({split(photos, 0.2, seed)[1] for seed in range(5)}) > 1


def test_over_many_seeds_every_photo_is_held_out_sometimes(folder):
    photos = scan(folder)
    held_out = {sample for seed in range(60) for sample in split(photos, 0.2, seed)[1]}
    assert held_out == set(photos.samples)


def test_a_small_share_still_holds_out_one_of_every_class(folder):
    _, kept = split(scan(folder), held_out=0.01, seed=0)
    assert sorted(label for _, label in kept) == [0, 1, 2]


@pytest.mark.parametrize("held_out", [0.0, 1.0, -0.5, 2.0])
def test_a_share_that_leaves_nothing_is_refused(folder, held_out):
    with pytest.raises(DataError, match=r"leaves nothing; choose one like 0.1"):
        split(scan(folder), held_out, seed=0)


def test_a_class_that_would_have_nothing_left_to_learn_from_is_refused(folder):
    photos = scan(folder)
    with pytest.raises(
        DataError, match=r"'roses' has 3 photos, and holding out 0.9 .* hold out less"
    ):
        split(photos, held_out=0.9, seed=0)
    lonely = PhotoFolder(("one", "two"), tuple(s for s in photos.samples if s[1] == 0)[:1])
    with pytest.raises(DataError, match="'one'"):
        split(lonely, held_out=0.1, seed=0)


@pytest.mark.parametrize("size", [(100, 60), (5, 90), (3, 3)])
def test_an_augmented_view_has_the_size_that_the_model_reads(noise_photo, size):
    photo = noise_photo(*size)
    for _ in range(20):
        assert Augmentation()(photo, SQUEEZE).size == (24, 16)


def test_views_lie_inside_the_photo_and_have_the_area_and_aspect_asked_for():
    augmentation = Augmentation(area=(0.35, 0.6), aspect=(3 / 4, 4 / 3))
    shares, aspects = [], []
    for _ in range(300):
        left, top, right, bottom = augmentation._box(120, 100)
        assert 0 <= left < right <= 120 + 1e-9
        assert 0 <= top < bottom <= 100 + 1e-9
        shares.append((right - left) * (bottom - top) / 12_000)
        aspects.append((right - left) / (bottom - top))
    assert 0.35 - 1e-9 <= min(shares) < 0.4
    assert 0.55 < max(shares) <= 0.6 + 1e-9
    assert 0.75 - 1e-9 <= min(aspects) < 0.85
    assert 1.2 < max(aspects) <= 4 / 3 + 1e-9


def test_half_of_the_views_are_mirrored():
    """Red left of blue, without any other change: about half come out blue left of red."""
    photo = Image.new("RGB", (24, 16), (255, 0, 0))
    photo.paste((0, 0, 255), (12, 0, 24, 16))
    still = Augmentation(area=(1.0, 1.0), aspect=(1.5, 1.5), brightness=0.0, saturation=0.0)
    mirrored = [still(photo, SQUEEZE).getpixel((2, 8))[2] > 128 for _ in range(200)]
    assert 70 < sum(mirrored) < 130


def test_light_and_colour_vary_within_their_bounds():
    grey = Image.new("RGB", (24, 16), (100, 100, 100))
    lit = [Augmentation(brightness=0.3)(grey, SQUEEZE).getpixel((5, 5))[0] for _ in range(200)]
    assert 69 <= min(lit) < 80
    assert 120 < max(lit) <= 130
    red = Image.new("RGB", (24, 16), (150, 100, 100))
    only = Augmentation(brightness=0.0, saturation=0.5)
    seen = [only(red, SQUEEZE).getpixel((5, 5)) for _ in range(100)]
    spread = [r - g for r, g, _ in seen]
    assert 24 <= min(spread) < 35
    assert 65 < max(spread) <= 76


def test_the_same_seed_gives_the_same_view(noise_photo):
    photo = noise_photo(50, 40)
    views = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        views.append(np.asarray(Augmentation()(photo, SQUEEZE)))
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])


def test_held_out_photos_are_read_exactly_as_in_use(folder):
    samples = scan(folder).samples
    pixels, label = Photos(samples, SQUEEZE)[12]
    path, wanted = samples[12]
    assert label == wanted
    assert torch.equal(pixels, SQUEEZE(Image.open(path).convert("RGB")).pixels[0])


def test_training_photos_have_the_models_size_and_vary(folder, noise_photo):
    path, label = scan(folder).samples[0]
    noise_photo(60, 40).save(path, "PNG")
    photos = Photos([(path, label)], SQUEEZE, Augmentation())
    assert len(photos) == 1
    first, second = photos[0][0], photos[0][0]
    assert first.shape == (3, 16, 24)
    assert not torch.equal(first, second)


def test_the_input_size_is_the_crop_or_the_exact_resize():
    assert input_size(SQUEEZE) == (16, 24)
    assert input_size(Preprocessing(resize=40, crop=(32, 24))) == (32, 24)
    for open_ended in (Preprocessing(resize=40), Preprocessing(resize=None)):
        with pytest.raises(DataError, match="give the preprocessing a crop"):
            input_size(open_ended)
