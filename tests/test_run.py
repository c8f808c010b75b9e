"""A training run: the folder it leaves is the best epoch, ready to be loaded."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from vit_demo.checkpoints import load, read_folder
from vit_demo.errors import MisfitError
from vit_demo.training import finetune as finetune_module
from vit_demo.training.finetune import Recipe
from vit_demo.training.run import LOG, train_folder

QUICK = Recipe(
    epochs=3, batch_size=8, learning_rate=1e-3, warm_up_steps=2, workers=0, bfloat16=False
)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    for label, hue in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        (folder / label).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (40 + number, 36), hue).save(folder / label / f"{number}.png")
    return folder


def train(data, weights, out, patch_size=8):
    steps = []
    start = read_folder(weights, "the start")
    score = train_folder(data, start, out, 32, patch_size, 0.25, QUICK, steps.append)
    return score, steps


def test_the_folder_holds_the_best_epoch(data, our_checkpoint, tmp_path, monkeypatch):
    """Scored 0.5, 0.9, 0.7 in turn, it must hold what the model was after the second epoch."""
    scores, seen = iter((0.5, 0.9, 0.7)), []

    def score(model, *_):
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return next(scores)

    monkeypatch.setattr(finetune_module, "accuracy", score)
    best, steps = train(data, our_checkpoint, tmp_path / "out")
    assert best == 0.9
    assert [step.accuracy for step in steps if step.accuracy is not None] == [0.5, 0.9, 0.7]
    kept = load(str(tmp_path / "out")).model.state_dict()
    for name, value in kept.items():
        torch.testing.assert_close(value, seen[1][name].half().float(), rtol=0, atol=0)
    assert any(not torch.equal(kept[name], seen[2][name].half().float()) for name in kept)


def test_the_result_is_a_checkpoint_of_the_datas_classes(data, our_checkpoint, tmp_path):
    train(data, our_checkpoint, tmp_path / "out", patch_size=16)
    loaded = load(str(tmp_path / "out"))
    assert loaded.labels == ("blue", "red")
    assert loaded.model.config.patch_size == 16
    assert loaded.preprocessing.resize == (32, 32)
    log = json.loads((tmp_path / "out" / LOG).read_text())
    assert len(log["epochs"]) == QUICK.epochs
    assert log["photos"] == {"training": 12, "held_out": 4}
    assert len(log["held_out_photos"]) == 4


def test_a_starting_point_that_does_not_fit_is_refused(data, our_checkpoint, tmp_path):
    start = read_folder(our_checkpoint, "the start")
    short = {name: value for name, value in start.tensors.items() if "blocks.1" not in name}
    with pytest.raises(MisfitError, match="blocks.1.*in the model, not in the file"):
        train_folder(
            data, replace(start, tensors=short), tmp_path / "out", 32, 8, 0.25, QUICK, print
        )
    assert not (tmp_path / "out").exists()
