"""Files of an earlier version are still read: its runs, its checkpoints, its maps.

The files in `golden/` were written before the modules and classes were renamed. The photos of the
run are flat colours, made here again.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vit_demo import explain, load

GOLDEN = Path(__file__).parent / "golden"
STEPS = 9


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A copy of the files as the working directory: their paths are relative."""
    shutil.copytree(GOLDEN, tmp_path / "golden")
    monkeypatch.chdir(tmp_path / "golden")
    for label, colour in (("blue", (40, 60, 200)), ("red", (200, 60, 40))):
        Path("photos", label).mkdir(parents=True)
        for number in range(16):
            shade = tuple(part + number for part in colour)
            Image.new("RGB", (40, 30), shade).save(Path("photos", label, f"{number:02}.png"))


def keys(value):
    """The keys of nested objects, without their values."""
    return {k: keys(v) for k, v in value.items()} if isinstance(value, dict) else type(value)


def close(found, expected):
    """Whether two JSON values agree, numbers to five places."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            close(found[k], expected[k]) for k in expected
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    if isinstance(expected, float):
        return bool(np.isclose(found, expected, atol=1e-5, rtol=0))
    return found == expected


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "method", ["rollout", "attention", "relevance", "legrad", "occlusion", "random", "versus"]
)
def test_maps_and_logits_are_what_they_were(method):
    expected = json.loads(Path("explain.json").read_text())[method]
    asked = {"method": method}
    if method == "versus":
        asked = {"method": "relevance", "target": "roses", "versus": "tulips"}
    found = explain(load("checkpoint"), "photo.png", **asked).as_json(logits=True)
    # Keys may be added; those of the contract keep their names and their values.
    found = {key: found[key] for key in expected}
    assert keys(found) == keys(expected)
    assert close(found, expected)


@pytest.mark.usefixtures("here")
def test_an_interrupted_run_can_be_resumed(run):
    status, _, err = run("finetune", "--resume", "--out", "interrupted")
    assert status == 0, err
    lines = [json.loads(line) for line in Path("interrupted/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    for name in ("training.json", "run.json"):
        written = json.loads(Path("interrupted", name).read_text())
        expected = json.loads(Path("finished", name).read_text())
        assert set(written["recipe"] if name == "training.json" else written["plan"]["recipe"]) == (
            set(expected["recipe"] if name == "training.json" else expected["plan"]["recipe"])
        )
    kept = [line.keys() for line in lines if "accuracy" not in line]
    golden = [json.loads(line) for line in Path("finished/log.jsonl").read_text().splitlines()]
    assert kept[0] == golden[0].keys()


@pytest.mark.usefixtures("here")
def test_its_scores_are_those_of_the_run_that_was_not_interrupted(run):
    run("finetune", "--resume", "--out", "interrupted")
    found = json.loads(Path("interrupted/training.json").read_text())
    expected = json.loads(Path("finished/training.json").read_text())
    assert found["accuracy"] == expected["accuracy"]
    assert [line["loss"] for line in found["epochs"]] == pytest.approx(
        [line["loss"] for line in expected["epochs"]], abs=1e-4
    )


def test_the_bundled_checkpoint_is_read_with_its_keys():
    folder = Path(__file__).parents[1] / "assets" / "checkpoints" / "flowers"
    checkpoint = load("flowers")
    config = json.loads((folder / "config.json").read_text())
    assert checkpoint.calibration.temperature == config["calibration"]["temperature"]
    assert checkpoint.labels == tuple(config["id2label"].values())
    assert "average" in json.loads((folder / "training.json").read_text())["recipe"]
