"""Folders of photos: found, split fairly, and seen at random but at the right size."""

import pytest
import torch
from PIL import Image

from vit_demo.errors import DataError
from vit_demo.preprocess import Preprocessing
from vit_demo.training.augment import Augmentation
from vit_demo.training.data import (
    PhotoFolder,
    Photos,
    Views,
    batches,
    read_split,
    scan,
    split,
)

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


def test_a_class_can_be_left_out_and_the_others_are_numbered_without_it(folder):
    photos = scan(folder, leave_out="roses")
    assert photos.labels == ("daisy", "tulips")
    assert [label for _, label in photos.samples] == [0] * 10 + [1] * 20
    assert read_split(folder, 0.2, 0, leave_out="roses").labels == ("daisy", "tulips")
    with pytest.raises(DataError, match="no class 'rose'; did you mean 'roses'"):
        scan(folder, leave_out="rose")


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


@pytest.mark.parametrize("count", [2, 3])
def test_every_photo_is_held_out_in_one_fold(folder, count):
    photos = scan(folder)
    folds = [split(photos, 1 / count, seed=0, fold=fold) for fold in range(1, count + 1)]
    held_out = [sample for _, kept in folds for sample in kept]
    assert sorted(held_out) == sorted(photos.samples)
    for training, kept in folds:
        assert sorted((*training, *kept)) == sorted(photos.samples)
        assert {label for _, label in kept} == set(range(len(photos.labels)))
    assert folds[0] == split(photos, 1 / count, seed=0)


@pytest.mark.parametrize("fold", [0, 6])
def test_a_fold_that_there_is_not(folder, fold):
    with pytest.raises(DataError, match=f"no fold {fold} of 0.2 of the photos; choose 1 to 5"):
        split(scan(folder), 0.2, seed=0, fold=fold)


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


def test_held_out_photos_are_read_exactly_as_in_use(folder):
    samples = scan(folder).samples
    pixels, label = Photos(samples, SQUEEZE)[12]
    path, wanted = samples[12]
    assert label == wanted
    assert torch.equal(pixels, SQUEEZE(Image.open(path).convert("RGB")).pixels[0])


@pytest.fixture
def three(tmp_path, noise_photo):
    """Two classes of four different photos each."""
    for number, label in enumerate(("daisy", "roses")):
        (tmp_path / label).mkdir()
        for photo in range(4):
            noise_photo(40, 30, seed=10 * number + photo).save(tmp_path / label / f"{photo}.png")
    return tmp_path


def test_a_train_and_val_pair_keeps_its_owners_split(three, tmp_path):
    pair = tmp_path / "pair"
    for part in ("train", "val"):
        (pair / part).mkdir(parents=True)
    (three / "daisy").rename(pair / "train" / "daisy")
    (three / "roses").rename(pair / "train" / "roses")
    for label in ("daisy", "roses"):
        (pair / "val" / label).mkdir()
        (pair / "train" / label / "0.png").rename(pair / "val" / label / "0.png")
    found = read_split(pair, held_out=0.5, seed=0)
    assert found.labels == ("daisy", "roses")
    assert found.counts(found.training) == {"daisy": 3, "roses": 3}
    assert found.counts(found.held_out) == {"daisy": 1, "roses": 1}
    (pair / "val" / "roses" / "0.png").rename(pair / "val" / "daisy" / "1.png")
    with pytest.raises(DataError, match="photos of 1 classes"):
        read_split(pair, held_out=0.5, seed=0)
    (pair / "val" / "tulips").mkdir()
    (pair / "val" / "daisy" / "1.png").rename(pair / "val" / "tulips" / "1.png")
    with pytest.raises(DataError, match=r"the same classes, and only one .*: roses, tulips"):
        read_split(pair, held_out=0.5, seed=0)


def test_a_folder_without_such_a_pair_is_split_here(folder):
    photos = scan(folder)
    found = read_split(folder, 0.2, seed=4)
    assert (found.training, found.held_out) == split(photos, 0.2, seed=4)


def test_views_are_a_function_of_seed_epoch_and_photo(three):
    views = Views(scan(three).samples, SQUEEZE, Augmentation(), seed=0)
    first, label = views[2, 1]
    assert first.shape == (3, 16, 24)
    assert label == 0
    torch.manual_seed(99)
    assert torch.equal(first, views[2, 1][0])
    assert not torch.equal(first, views[2, 2][0])
    other = Views(scan(three).samples, SQUEEZE, Augmentation(), seed=1)
    assert not torch.equal(first, other[2, 1][0])


def test_an_epoch_shows_every_photo_once_in_an_order_of_its_own():
    one, two = batches(24, 8, seed=0, epoch=1), batches(24, 8, seed=0, epoch=2)
    for epoch, found in ((1, one), (2, two)):
        assert [len(batch) for batch in found] == [8, 8, 8]
        flat = [view for batch in found for view in batch]
        assert sorted(index for index, _ in flat) == list(range(24))
        assert {number for _, number in flat} == {epoch}
    assert [i for batch in one for i, _ in batch] != [i for batch in two for i, _ in batch]


@pytest.mark.parametrize(("count", "sizes"), [(25, [8, 8, 8]), (8, [8]), (5, [5])])
def test_what_is_left_over_waits_unless_it_is_all_there_is(count, sizes):
    assert [len(batch) for batch in batches(count, 8, seed=0, epoch=1)] == sizes


def test_several_processes_share_every_batch():
    whole = batches(20, 6, seed=3, epoch=2)
    parts = [batches(20, 6, seed=3, epoch=2, part=part, parts=2) for part in range(2)]
    for all_of_it, first, second in zip(whole, *parts, strict=True):
        assert sorted(all_of_it) == sorted(first + second)
        assert len(first) == len(second) == 3
