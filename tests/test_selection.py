"""Which photos are scored: classes by name, held-out photos by the checkpoint's own list."""

import json
import shutil

import pytest
from PIL import Image

from vit_demo.errors import DataError
from vit_demo.training.selection import choose, held_out_photos

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


def test_classes_are_matched_by_name_and_numbered_as_the_checkpoint_does(folder):
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
    # A folder without any of the held-out photos is not the one it was trained on.
    assert choose(folder, LABELS, frozenset({"daisy/77.png"})).trained_on == 0


def test_a_photo_of_the_same_name_in_another_class_is_another_photo(folder):
    chosen = choose(folder, LABELS, frozenset({"tulips/1.png"}), held_out=True)
    assert [path.parent.name for path, _ in chosen.samples] == ["tulips"]


def test_of_a_folder_that_its_owner_split_the_held_out_part_is_found(folder, tmp_path):
    """The same file names on both sides, and only one side was held out."""
    pair = tmp_path / "pair"
    for part in ("train", "val"):
        shutil.copytree(folder, pair / part)
    listed = frozenset({"val/daisy/1.png", "val/tulips/0.png"})
    chosen = choose(pair, LABELS, listed, held_out=True)
    assert [path.relative_to(pair).as_posix() for path, _ in chosen.samples] == sorted(listed)
    assert choose(pair, LABELS, listed).trained_on == 2 * 7 - 2


def test_a_folder_of_other_things_is_refused(folder):
    with pytest.raises(DataError, match=r"knows none of the classes .*daisy.*mean 'daisies'"):
        choose(folder, ("daisies", "roses"))


def test_a_name_that_stands_for_two_classes_is_refused(folder):
    with pytest.raises(DataError, match="2 classes called 'daisy'"):
        choose(folder, ("daisy", "tulips", "daisy"))


def test_held_out_photos_that_lie_elsewhere_are_refused(folder):
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
    with pytest.raises(DataError, match="leave out --held-out"):
        held_out_photos(tmp_path / "other")


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"held_out_photos": 3}'])
def test_a_list_that_is_missing_or_broken_is_said_to_be(tmp_path, text):
    if text is not None:
        (tmp_path / "training.json").write_text(text)
    with pytest.raises(DataError, match="held-out photos"):
        held_out_photos(tmp_path)
