"""Selecting evaluation photos: classes by name, held-out photos by the checkpoint's list."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from vit_demo.errors import DataError
from vit_demo.evaluation.eval_set import choose, held_out_photos, trained_in

LABELS = ("tulips", "daisy", "roses")


@pytest.fixture
def folder(tmp_path):
    """Four daisies, one of them a folder deeper, three tulips, two orchids."""
    for label, count in (("daisy", 4), ("tulips", 3), ("orchids", 2)):
        for number in range(count):
            deeper = tmp_path / "photos" / label / ("more" if number == 3 else "")
            deeper.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(deeper / f"{number}.png")
    return tmp_path / "photos"


def test_classes_are_matched_by_name_and_numbered_like_the_checkpoints(folder):
    chosen = choose(folder, LABELS)
    assert [number for _, number in chosen.samples] == [1] * 4 + [0] * 3
    assert all(LABELS[number] in path.parts for path, number in chosen.samples)
    assert chosen.unknown == {"orchids": 2}
    assert (chosen.trained_on, chosen.missing, chosen.held_out) == (0, 0, False)


def test_only_the_held_out_photos_are_chosen(folder):
    listed = frozenset({"daisy/1.png", "daisy/more/3.png", "tulips/0.png", "roses/9.png"})
    chosen = choose(folder, LABELS, listed, held_out=True)
    assert [path.relative_to(folder).as_posix() for path, _ in chosen.samples] == [
        "daisy/1.png", "daisy/more/3.png", "tulips/0.png",
    ]  # fmt: skip
    assert (chosen.trained_on, chosen.missing, chosen.held_out) == (0, 1, True)


def test_photos_that_it_was_trained_on_are_counted(folder):
    assert choose(folder, LABELS, frozenset({"daisy/1.png"})).trained_on == 6
    assert choose(folder, LABELS).trained_on == 0


@pytest.fixture
def pair(tmp_path, noise_photo):
    """Two classes with three training photos and two held-out photos each."""
    seed = 0
    for part, count in (("train", 3), ("val", 2)):
        for label in ("daisy", "tulips"):
            (tmp_path / "pair" / part / label).mkdir(parents=True)
            for number in range(count):
                photo = noise_photo(30, 20, seed := seed + 1)
                photo.save(tmp_path / "pair" / part / label / f"{number}.png")
    return tmp_path / "pair"


LISTED = frozenset(
    f"val/{label}/{number}.png" for label in ("daisy", "tulips") for number in (0, 1)
)


def test_without_any_held_out_photo_training_photos_are_unknown(pair, tmp_path):
    for training_folder in (None, tmp_path / "gone", pair / "val"):
        for part in ("train", "val"):
            assert (
                choose(pair / part, LABELS, LISTED, training_folder=training_folder).trained_on
                is None
            )


def test_training_photos_in_another_folder_are_found_by_their_content(pair, tmp_path, noise_photo):
    def trained_on(folder):
        return choose(folder, LABELS, LISTED, training_folder=pair).trained_on

    assert trained_on(pair / "train") == 6
    assert trained_on(pair / "val") == 0
    shutil.copytree(pair / "train", tmp_path / "copy")
    (tmp_path / "copy" / "daisy" / "0.png").rename(tmp_path / "copy" / "daisy" / "renamed.png")
    (tmp_path / "copy" / "daisy" / "nowhere.png").symlink_to(tmp_path / "nowhere.png")
    assert trained_on(tmp_path / "copy") == 6
    # Of the same names, and yet other photos: three that are new and one that is not.
    for label in ("daisy", "tulips"):
        for number in range(2):
            noise_photo(30, 20, 90 + number).save(tmp_path / "copy" / label / f"{number}.png")
    shutil.rmtree(tmp_path / "copy" / "tulips")
    shutil.copytree(pair / "val" / "tulips", tmp_path / "copy" / "tulips")
    assert trained_on(tmp_path / "copy") == 2


def test_an_unused_part_next_to_the_split_was_not_trained_on(pair, noise_photo):
    for number, label in enumerate(("daisy", "tulips")):
        (pair / "test" / label).mkdir(parents=True)
        noise_photo(30, 20, 90 + number).save(pair / "test" / label / "0.png")
    assert choose(pair / "test", LABELS, LISTED, training_folder=pair).trained_on == 0


def test_a_photo_of_the_same_name_in_another_class_is_another_photo(folder):
    chosen = choose(folder, LABELS, frozenset({"tulips/1.png"}), held_out=True)
    assert [path.parent.name for path, _ in chosen.samples] == ["tulips"]


def test_the_held_out_part_of_an_existing_split_is_found(folder, tmp_path):
    """The same file names on both sides, and only one side was held out."""
    pair = tmp_path / "pair"
    for part in ("train", "val"):
        shutil.copytree(folder, pair / part)
    listed = frozenset({"val/daisy/1.png", "val/tulips/0.png"})
    chosen = choose(pair, LABELS, listed, held_out=True)
    assert [path.relative_to(pair).as_posix() for path, _ in chosen.samples] == sorted(listed)
    assert choose(pair, LABELS, listed).trained_on == 2 * 7 - 2


def test_a_folder_of_other_classes_is_refused(folder):
    with pytest.raises(DataError, match=r"knows none of the classes .*daisy.*mean 'daisies'"):
        choose(folder, ("daisies", "roses"))


def test_an_ambiguous_class_name_is_refused(folder):
    with pytest.raises(DataError, match="2 classes called 'daisy'"):
        choose(folder, ("daisy", "tulips", "daisy"))


def test_held_out_photos_in_another_folder_are_refused(folder):
    with pytest.raises(DataError, match="None of the 1 held-out photos is in"):
        choose(folder, LABELS, frozenset({"daisy/77.png"}), held_out=True)


def test_the_list_is_read_from_the_checkpoints_folder(tmp_path):
    content = {"held_out_photos": ["daisy/1.png"]}
    (tmp_path / "training.json").write_text(json.dumps(content))
    assert held_out_photos(tmp_path) == frozenset({"daisy/1.png"})


def test_the_best_epochs_list_is_that_of_its_run(tmp_path):
    (tmp_path / "training.json").write_text('{"held_out_photos": ["daisy/1.png"]}')
    for name in ("best", "other"):
        (tmp_path / name).mkdir()
    assert held_out_photos(tmp_path / "best") == frozenset({"daisy/1.png"})
    with pytest.raises(DataError, match="leave --held-out out"):
        held_out_photos(tmp_path / "other")


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("{}", None), ('{"data": 3}', None), ('{"data": "photos"}', Path("photos"))],
)
def test_the_training_folder_is_the_one_in_training_json(tmp_path, text, expected):
    if text is not None:
        (tmp_path / "training.json").write_text(text)
    assert trained_in(tmp_path) == expected


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"held_out_photos": 3}'])
def test_a_missing_or_invalid_list_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "training.json").write_text(text)
    with pytest.raises(DataError, match="held-out photos"):
        held_out_photos(tmp_path)
