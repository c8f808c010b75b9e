"""Folders of photos: what is a class, what is a photo, and what is ignored."""

import pytest
from PIL import Image

from vit_demo.data.folder import PhotoFolder, parts, photos_in, scan, scan_all
from vit_demo.errors import DataError


def test_classes_are_the_folders_with_photos_in_alphabetical_order(three_classes):
    photos = scan(three_classes)
    assert photos.labels == ("daisy", "roses", "tulips")
    assert [label for _, label in photos.samples] == [0] * 10 + [1] * 3 + [2] * 20
    for path, label in photos.samples:
        assert path.relative_to(three_classes).parts[0] == photos.labels[label]
        assert path.suffix in (".png", ".JPG")


def test_a_class_can_be_left_out_and_the_others_are_numbered_without_it(three_classes):
    photos = scan(three_classes, leave_out="roses")
    assert photos.labels == ("daisy", "tulips")
    assert [label for _, label in photos.samples] == [0] * 10 + [1] * 20
    with pytest.raises(DataError, match="no class 'rose'; did you mean 'roses'"):
        scan(three_classes, leave_out="rose")


def test_scanning_twice_gives_the_same_order(three_classes):
    assert scan(three_classes) == scan(three_classes)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"no folder '.*gone'; name one with a sub-folder per class"
    ):
        scan(tmp_path / "gone")


@pytest.mark.parametrize(("classes", "words"), [(0, "of 0 classes"), (1, "of 1 class")])
def test_fewer_than_two_classes_are_refused(tmp_path, classes, words):
    for number in range(classes):
        (tmp_path / str(number)).mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / str(number) / "a.png")
    (tmp_path / "no photos").mkdir()
    with pytest.raises(DataError, match=rf"{words} \(no photos in: no photos\), but at"):
        scan(tmp_path)


def test_folders_without_photos_are_not_classes_and_are_listed(three_classes):
    (three_classes / "notes").mkdir()
    (three_classes / "notes" / "a.txt").write_text("no photo", encoding="utf-8")
    assert scan(three_classes).empty == ("empty", "notes")


def test_hidden_files_and_folders_are_ignored(three_classes):
    before = scan(three_classes)
    for hidden in (
        ".ipynb_checkpoints/a.png", "daisy/._01.png", "daisy/.thumbnails/deep/01.png",
    ):  # fmt: skip
        (three_classes / hidden).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(three_classes / hidden)
    assert scan(three_classes) == before


def test_a_hidden_parent_folder_does_not_matter(tmp_path):
    (tmp_path / ".cache" / "photos").mkdir(parents=True)
    (tmp_path / ".cache" / "photos" / "a.jfif").touch()
    (tmp_path / ".cache" / "photos" / "b.JFIF").touch()
    names = [path.name for path in photos_in(tmp_path / ".cache" / "photos")]
    assert names == ["a.jfif", "b.JFIF"]


SPLITS = [
    ("Training", "Test"), ("Train", "Valid"), ("TRAIN", "TEST"), ("train", "testing"),
    ("train", "dev"), ("training", "validation"), ("training_set", "test_set"),
    ("Train Data", "Eval-Images"),
]  # fmt: skip


def tree(folder, *names):
    """A photo in each of these folders."""
    for name in names:
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (2, 2)).save(folder / name / "a.png")
    return folder


@pytest.mark.parametrize(("training", "held_out"), SPLITS)
def test_a_split_is_recognized_by_its_names_in_any_case(tmp_path, training, held_out):
    folder = tree(tmp_path, *(f"{part}/{label}" for part in (training, held_out) for label in "ab"))
    found = parts(folder)
    assert [part.labels for part in found] == [("a", "b")] * 2
    assert [part.samples[0][0].relative_to(folder).parts[0] for part in found] == [
        training, held_out,
    ]  # fmt: skip


def test_validation_is_preferred_over_other_held_out_parts(tmp_path):
    names = [f"{part}/{label}" for part in ("Test", "Val", "train") for label in "ab"]
    _, held_out = parts(tree(tmp_path, *names))
    assert held_out.samples[0][0].parent.parent.name == "Val"


def test_two_names_of_one_part_are_refused(tmp_path):
    names = [f"{part}/{label}" for part in ("train", "Training", "val") for label in "ab"]
    with pytest.raises(
        DataError, match="contains 'train' and 'Training', which name the same part"
    ):
        parts(tree(tmp_path, *names))


@pytest.mark.parametrize("names", [("test", "val"), ("Train",), ("Testing",)])
def test_parts_of_a_split_never_become_classes(tmp_path, names):
    folder = tree(tmp_path, *(f"{part}/{label}" for part in names for label in "ab"))
    with pytest.raises(DataError, match=f"'{names[0]}'.* parts of a split and not classes; name"):
        parts(folder)


def test_a_class_may_be_called_train_among_others(tmp_path):
    """With pictures of vehicles, the name alone is not a split."""
    assert parts(tree(tmp_path, "bus", "car", "train"))[0].labels == ("bus", "car", "train")


def test_nested_folders_are_refused_with_their_names(tmp_path):
    folder = tree(tmp_path, "first/daisy", "first/roses", "second/daisy", "second/roses")
    words = "contains 'first', 'second', and all photos .*'first': 'daisy', 'roses'. So it is not"
    with pytest.raises(DataError, match=words):
        parts(folder)
    within = tree(tmp_path / "classes first", "daisy/train", "daisy/val", "rose/train", "rose/val")
    with pytest.raises(DataError, match="'daisy': 'train', 'val'"):
        parts(within)


def test_a_parent_of_the_class_folders_is_refused_with_a_suggestion(tmp_path):
    with pytest.raises(DataError, match=r"name the folder that contains them, such as '.*flowers'"):
        parts(tree(tmp_path, "flowers/daisy", "flowers/roses"))


def test_both_parts_of_a_split_are_found_and_their_empty_folders_listed(three_classes):
    pair = three_classes / "pair"
    for part in ("train", "val"):
        for label in ("daisy", "roses", "none"):
            (pair / part / label).mkdir(parents=True)
        for label in ("daisy", "roses"):
            (pair / part / label / "a.png").touch()
    assert [part.empty for part in parts(pair)] == [("train/none",), ("val/none",)]
    assert [path.relative_to(pair).parts[:2] for path, _ in scan_all(pair).samples] == [
        ("train", "daisy"), ("train", "roses"), ("val", "daisy"), ("val", "roses"),
    ]  # fmt: skip


def test_a_class_without_readable_photos_is_refused_with_a_file(three_classes):
    photos = scan(three_classes)
    roses = [path for path, label in photos.samples if photos.labels[label] == "roses"]
    left = photos.without(set(roses[:2]))
    assert [path for path, _ in left.unreadable] == roses[:2]
    assert left.of(1) == [(roses[2], 1)]
    assert photos.without(()) == photos == PhotoFolder(photos.labels, photos.samples, ("empty",))
    with pytest.raises(DataError, match=r"None of the photos of the class 'roses' .*roses.01.JPG"):
        photos.without(set(roses))
