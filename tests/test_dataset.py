"""The split is stratified and reproducible; views are random with the right size."""

import json

import pytest
import torch
from PIL import Image

from vit_demo.data.augmentation import Augmentation
from vit_demo.data.dataset import (
    Photos,
    Views,
    batches,
    read_split,
    split,
)
from vit_demo.data.folder import PhotoFolder, scan
from vit_demo.errors import DataError
from vit_demo.preprocess import Preprocessing
from vit_demo.settings import ASSETS

SQUEEZE = Preprocessing(resize=(16, 24))


def test_the_same_fraction_of_every_class_is_held_out(three_classes):
    photos = scan(three_classes)
    training, kept = split(photos, held_out=0.2, seed=0)
    assert set(training) | set(kept) == set(photos.samples)
    assert not set(training) & set(kept)
    assert len(training) + len(kept) == len(photos.samples)
    assert [sum(label == c for _, label in kept) for c in range(3)] == [2, 1, 4]


def test_the_seed_determines_the_held_out_photos(three_classes):
    photos = scan(three_classes)
    assert split(photos, 0.2, seed=3) == split(photos, 0.2, seed=3)
    assert len({split(photos, 0.2, seed)[1] for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("seed", "fold", "names"),
    [
        (0, 1, "daisy/02 daisy/05 roses/01 tulips/05 tulips/06 tulips/07 tulips/12"),
        (3, 2, "daisy/04 daisy/08 roses/01 tulips/06 tulips/08 tulips/10 tulips/19"),
    ],
)
def test_the_held_out_photos_never_change(three_classes, seed, fold, names):
    """Stored lists of held-out photos must stay valid in later versions."""
    kept = read_split(three_classes, 0.2, seed, fold=fold).held_out
    found = [path.relative_to(three_classes).with_suffix("").as_posix() for path, _ in kept]
    assert found == names.split()


@pytest.mark.shared
def test_the_held_out_photos_of_the_bundled_checkpoint_are_unchanged(shared):
    log = json.loads((ASSETS / "checkpoints" / "flowers" / "training.json").read_text("utf-8"))
    data = shared / "flower_photos"
    kept = read_split(data, log["held_out"], log["recipe"]["seed"], fold=log["fold"]).held_out
    assert [path.relative_to(data).as_posix() for path, _ in kept] == log["held_out_photos"]


@pytest.mark.parametrize("fold", range(1, 6))
def test_every_fold_holds_out_a_photo_of_the_smallest_class(three_classes, fold):
    """Two photos cannot fill five folds, so they are in several of them."""
    (three_classes / "roses" / "02.png").unlink()
    kept = read_split(three_classes, 0.2, seed=0, fold=fold)
    assert kept.counts(kept.held_out)["roses"] == 1


def test_unreadable_photos_are_skipped_before_the_split(three_classes):
    gone = scan(three_classes).samples[3][0]
    found = read_split(three_classes, 0.2, seed=0, unreadable={gone})
    gone.unlink()
    assert found == read_split(three_classes, 0.2, seed=0)


@pytest.mark.parametrize("count", [2, 3])
def test_every_photo_is_held_out_in_one_fold(three_classes, count):
    photos = scan(three_classes)
    folds = [split(photos, 1 / count, seed=0, fold=fold) for fold in range(1, count + 1)]
    held_out = [sample for _, kept in folds for sample in kept]
    assert sorted(held_out) == sorted(photos.samples)
    for training, kept in folds:
        assert sorted((*training, *kept)) == sorted(photos.samples)
        assert {label for _, label in kept} == set(range(len(photos.labels)))
    assert folds[0] == split(photos, 1 / count, seed=0)


@pytest.mark.parametrize("fold", [0, 6])
def test_an_unknown_fold_is_refused(three_classes, fold):
    with pytest.raises(DataError, match=f"no fold {fold} of 0.2 of the photos; choose 1 to 5"):
        split(scan(three_classes), 0.2, seed=0, fold=fold)


def test_over_many_seeds_every_photo_is_held_out_sometimes(three_classes):
    photos = scan(three_classes)
    held_out = {sample for seed in range(60) for sample in split(photos, 0.2, seed)[1]}
    assert held_out == set(photos.samples)


def test_a_small_fraction_still_holds_out_one_photo_of_every_class(three_classes):
    _, kept = split(scan(three_classes), held_out=0.01, seed=0)
    assert sorted(label for _, label in kept) == [0, 1, 2]


@pytest.mark.parametrize("held_out", [0.0, 1.0, -0.5, 2.0])
def test_an_invalid_fraction_is_refused(three_classes, held_out):
    with pytest.raises(DataError, match=r"is not between 0 and 1; choose one like 0.1"):
        split(scan(three_classes), held_out, seed=0)


def test_a_class_without_training_photos_is_refused(three_classes):
    photos = scan(three_classes)
    with pytest.raises(
        DataError, match=r"'roses' has 3 photos, and holding out 0.9 .* hold out less"
    ):
        split(photos, held_out=0.9, seed=0)
    lonely = PhotoFolder(("one", "two"), tuple(s for s in photos.samples if s[1] == 0)[:1])
    with pytest.raises(DataError, match="'one'"):
        split(lonely, held_out=0.1, seed=0)


def test_held_out_photos_are_preprocessed_as_for_inference(three_classes):
    samples = scan(three_classes).samples
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


def test_an_existing_train_val_split_is_kept(three, tmp_path):
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
    with pytest.raises(DataError, match="photos of 1 class "):
        read_split(pair, held_out=0.5, seed=0)
    (pair / "val" / "tulips").mkdir()
    (pair / "val" / "daisy" / "1.png").rename(pair / "val" / "tulips" / "1.png")
    with pytest.raises(DataError, match=r"the same classes, but only one .*: roses, tulips"):
        read_split(pair, held_out=0.5, seed=0)


def test_a_folder_without_a_split_is_split(three_classes):
    photos = scan(three_classes)
    found = read_split(three_classes, 0.2, seed=4)
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


def test_every_epoch_has_every_photo_once_in_random_order():
    one, two = batches(24, 8, seed=0, epoch=1), batches(24, 8, seed=0, epoch=2)
    for epoch, found in ((1, one), (2, two)):
        assert [len(batch) for batch in found] == [8, 8, 8]
        flat = [view for batch in found for view in batch]
        assert sorted(index for index, _ in flat) == list(range(24))
        assert {number for _, number in flat} == {epoch}
    assert [i for batch in one for i, _ in batch] != [i for batch in two for i, _ in batch]


@pytest.mark.parametrize(("count", "sizes"), [(25, [8, 8, 8]), (8, [8]), (5, [5])])
def test_an_incomplete_batch_is_dropped_unless_it_is_the_only_one(count, sizes):
    assert [len(batch) for batch in batches(count, 8, seed=0, epoch=1)] == sizes


def test_several_processes_share_every_batch():
    whole = batches(20, 6, seed=3, epoch=2)
    parts = [batches(20, 6, seed=3, epoch=2, part=part, parts=2) for part in range(2)]
    for all_of_it, first, second in zip(whole, *parts, strict=True):
        assert sorted(all_of_it) == sorted(first + second)
        assert len(first) == len(second) == 3
