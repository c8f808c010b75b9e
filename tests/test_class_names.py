"""Class names from files as people keep them; a file that does not fit is refused in words."""

import json

import pytest

from vit_demo.checkpoints import class_names
from vit_demo.errors import CheckpointError

FLOWERS = ("daisy", "月季", "roses")


def written(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps(dict(enumerate(FLOWERS)))),
        ("a.json", json.dumps(dict(enumerate(FLOWERS)), ensure_ascii=False)),
        ("a.json", json.dumps({label: index for index, label in enumerate(FLOWERS)})),
        ("a.json", json.dumps(FLOWERS)),
        ("a.txt", "\n".join(FLOWERS) + "\n"),
        ("a.txt", "\r\n".join(FLOWERS) + "\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
def test_names_are_read_either_way_round_and_in_either_encoding(tmp_path, name, text, encoding):
    path = written(tmp_path, name, text.encode(encoding))
    assert class_names.read(path, 3, "it") == FLOWERS


def test_names_that_are_numbers_are_names(tmp_path):
    """torchvision's class_to_idx of folders 1, 10, 2: values count, not keys."""
    path = written(tmp_path, "a.json", b'{"1": 0, "10": 1, "2": 2}')
    assert class_names.read(path, 3, "it") == ("1", "10", "2")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"1": "daisy", "2": "roses", "3": "tulips"}', "numbers 3 classes and the"),
        ("a.json", b'{"daisy": 0, "roses": 0, "tulips": 2}', "numbers no class names"),
        ("a.json", b'{"daisy": "x"}', "numbers no class names"),
        ("a.json", b'{"daisy": ', "cannot be read"),
        ("a.txt", b"daisy\nroses\n", "numbers 2 classes and the model has 3"),
        ("a.txt", b"\xff\xfe\x00", "neither UTF-8 nor GBK"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, name, content, message):
    with pytest.raises(CheckpointError, match=message):
        class_names.read(written(tmp_path, name, content), 3, "it")


def test_the_nearest_file_is_found(tmp_path):
    weights = tmp_path / "runs" / "weights" / "model.pth"
    weights.parent.mkdir(parents=True)
    assert class_names.find(weights) is None
    there = written(tmp_path / "runs" / "model_data", "cls_classes.txt", b"")
    assert class_names.find(weights) == there
    above = written(tmp_path / "runs", "class_indices.json", b"")
    assert class_names.find(weights) == above
    beside = written(weights.parent, "classes.txt", b"")
    assert class_names.find(weights) == beside
