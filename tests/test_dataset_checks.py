"""Unreadable photos are skipped and reported; duplicates across the split are found."""

import shutil

import pytest
from PIL import Image

from vit_demo.data.dataset import read_split
from vit_demo.data.dataset_checks import Checked, check, fingerprint
from vit_demo.errors import DataError


@pytest.fixture
def three(tmp_path, noise_photo):
    """Two classes of four different photos each."""
    for number, label in enumerate(("daisy", "roses")):
        (tmp_path / label).mkdir()
        for photo in range(4):
            noise_photo(40, 30, seed=10 * number + photo).save(tmp_path / label / f"{photo}.png")
    return tmp_path


def break_all(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"no photo")


def test_unreadable_photos_are_skipped_and_reported(three):
    break_all(three, "daisy/1.png")
    checked = check(three, 0.25, seed=0)
    [(path, why)] = checked.unreadable
    assert path == three / "daisy" / "1.png"
    assert "is not a picture" in why
    assert checked.duplicates == ()
    path.unlink()
    assert checked.split == read_split(three, 0.25, seed=0)
    assert check(three, 0.25, seed=0) == Checked(checked.split, (), ())


@pytest.mark.parametrize("broken", range(4))
def test_the_readable_photos_of_a_class_are_split_whichever_one_is_broken(three, broken):
    """Also if it is the one that would have been held out."""
    break_all(three, f"roses/{broken}.png")
    split = check(three, 0.25, seed=0).split
    assert split.counts(split.training) == {"daisy": 3, "roses": 2}
    assert split.counts(split.held_out) == {"daisy": 1, "roses": 1}


def test_a_class_with_too_few_readable_photos_is_refused_with_a_file(three):
    break_all(three, "roses/0.png", "roses/1.png", "roses/3.png")
    said = r"'roses' has 1 photo that can be read \('.*roses.0.png' cannot\), and holding out 0.25"
    with pytest.raises(DataError, match=said):
        check(three, 0.25, seed=0)
    break_all(three, "roses/2.png")
    with pytest.raises(DataError, match=r"None of the photos of the class 'roses' .*roses.0.png'"):
        check(three, 0.25, seed=0)


def test_each_part_of_a_split_needs_a_readable_photo_of_every_class(three, tmp_path):
    pair = tmp_path / "pair"
    for part in ("train", "val"):
        shutil.copytree(three, pair / part, ignore=lambda *_: ["pair"])
    break_all(pair, "val/daisy/0.png", "val/daisy/1.png", "val/daisy/2.png")
    checked = check(pair, 0.25, seed=0)
    assert [path.name for path, _ in checked.unreadable] == ["0.png", "1.png", "2.png"]
    assert checked.split.counts(checked.split.held_out) == {"daisy": 1, "roses": 4}
    assert checked.split.counts(checked.split.training) == {"daisy": 4, "roses": 4}
    break_all(pair, "val/daisy/3.png")
    with pytest.raises(
        DataError, match=r"the class 'daisy' can be read, for example '.*val.daisy.0.png'"
    ):
        check(pair, 0.25, seed=0)


def test_an_invalid_fraction_is_refused_before_a_photo_is_opened(three, monkeypatch):
    monkeypatch.setattr(
        "vit_demo.data.dataset_checks.read_photo", lambda path: pytest.fail(f"opened {path}")
    )
    with pytest.raises(DataError, match="is not between 0 and 1"):
        check(three, 1.0, seed=0)


def test_a_scaled_and_recompressed_duplicate_is_found(three):
    [(held_out, _), _] = read_split(three, 0.25, seed=0).held_out
    learnt = next(p for p, _ in read_split(three, 0.25, seed=0).training if "roses" in p.parts)
    original = Image.open(learnt)
    original.resize((80, 60), Image.Resampling.BICUBIC).save(held_out, "JPEG")
    assert check(three, 0.25, seed=0).duplicates == ((held_out, learnt),)


def test_fingerprints_of_different_photos_differ(noise_photo):
    assert len({fingerprint(noise_photo(40, 30, seed)) for seed in range(50)}) == 50
