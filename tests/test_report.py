"""An evaluation as JSON and as pictures."""

import json

import pytest
from PIL import Image

from vit_demo import load
from vit_demo.errors import OutputError
from vit_demo.evaluation.eval_set import choose
from vit_demo.evaluation.evaluate import evaluate
from vit_demo.evaluation.report import as_json, save_report


@pytest.fixture
def scores(our_checkpoint, tmp_path, noise_photo):
    """A tiny checkpoint on nine photos: one unreadable, two of a class that it does not know."""
    for place, label in enumerate(("daisy", "tulips", "orchids")):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            photo = noise_photo(40, 30, seed=10 * place + number)
            photo.save(tmp_path / "photos" / label / f"{number}.png")
    (tmp_path / "photos" / "orchids" / "2.png").unlink()
    (tmp_path / "photos" / "daisy" / "1.png").write_text("words")
    checkpoint = load(str(our_checkpoint))
    return evaluate(checkpoint, choose(tmp_path / "photos", checkpoint.labels))


def test_the_json_is_complete_and_consistent(scores):
    content = json.loads(json.dumps(as_json(scores), allow_nan=False))
    assert set(content) == {
        "checkpoint", "data", "photos", "held_out", "trained_on", "missing", "unknown", "strangers",
        "unreadable", "accuracy", "classes", "confusion", "calibration", "mistakes",
    }  # fmt: skip
    assert content["data"] == "photos"
    assert content["photos"] == content["accuracy"]["total"] == 5
    assert content["unknown"] == {"orchids": 2}
    assert [entry["photo"] for entry in content["unreadable"]] == ["daisy/1.png"]
    assert [(row["label"], row["total"]) for row in content["classes"]] == [
        ("daisy", 2), ("tulips", 3),
    ]  # fmt: skip
    for row in content["classes"]:
        assert row["total"] == row["right"] + sum(row["mistaken_for"].values())
        assert row["interval"][0] <= row["share"] <= row["interval"][1]
    assert sum(row["right"] for row in content["classes"]) == content["accuracy"]["right"]
    assert sum(map(sum, content["confusion"]["counts"])) == 5
    assert len(content["mistakes"]) == 5 - content["accuracy"]["right"]
    for mistake in content["mistakes"]:
        assert mistake["photo"].startswith(f"{mistake['true']}/")


def test_the_folder_contains_scores_and_pictures(scores, tmp_path):
    names = save_report(scores, tmp_path / "deep" / "out")
    assert sorted(names) == sorted(path.name for path in (tmp_path / "deep" / "out").iterdir())
    assert {"evaluation.json", "confusion.png", "reliability.png", "mistakes.png"} == set(names)
    stored = json.loads((tmp_path / "deep" / "out" / "evaluation.json").read_text("utf-8"))
    assert stored == json.loads(json.dumps(as_json(scores)))
    for name in names:
        if name.endswith(".png"):
            with Image.open(tmp_path / "deep" / "out" / name) as picture:
                assert len(picture.convert("RGB").getcolors(1 << 24)) > 20


def test_an_unwritable_folder_is_refused(scores, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="cannot be created"):
        save_report(scores, tmp_path / "file")
