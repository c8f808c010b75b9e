"""A whole training run, from a folder of photos to a checkpoint folder."""

import json

import pytest
import torch
from PIL import Image

from vit_demo.checkpoints import transformers
from vit_demo.checkpoints.fit import fit
from vit_demo.models.vit import VisionTransformer
from vit_demo.training import run
from vit_demo.training.finetune import Recipe, accuracy
from vit_demo.training.run import LOG, train_folder

RECIPE = Recipe(
    epochs=2, batch_size=8, learning_rate=3e-3, warm_up_steps=4, workers=0, bfloat16=False
)


@pytest.fixture
def photos(tmp_path):
    for label, colour in (("blue", (40, 60, 200)), ("red", (200, 60, 40))):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(16):
            shade = tuple(part + number for part in colour)
            photo = Image.new("RGB", (40, 30), shade)
            photo.save(tmp_path / "photos" / label / f"{number:02}.png")
    return tmp_path / "photos"


def trained(photos, start, out, image_size=24, patch_size=12, recipe=RECIPE):
    steps = []
    score = train_folder(photos, start, out, image_size, patch_size, 0.25, recipe, steps.append)
    return score, steps


def weights(folder):
    return torch.cat([v.flatten() for v in transformers.read(folder, "it").tensors.values()])


def test_photos_and_a_checkpoint_become_another_checkpoint(photos, our_checkpoint, tmp_path):
    """From five classes at 32 pixels in patches of 8 to two at 24 pixels in patches of 12."""
    start = transformers.read(our_checkpoint, "it")
    score, steps = trained(photos, start, tmp_path / "out")
    stored = transformers.read(tmp_path / "out", "it")
    assert stored.labels == ("blue", "red")
    assert (stored.config.image_size, stored.config.patch_size) == ((24, 24), 12)
    assert (stored.preprocessing.resize, stored.preprocessing.crop) == (26, (24, 24))
    model = VisionTransformer(stored.config)
    fit(model, stored.tensors, "it")
    log = json.loads((tmp_path / "out" / LOG).read_text(encoding="utf-8"))
    assert log["photos"] == {"training": 24, "held_out": 8}
    kept = [(photos / name, int(name.startswith("red"))) for name in log["held_out_photos"]]
    assert len(kept) == 8
    # Half precision on disk, and the score holds all the same.
    assert accuracy(model, kept, stored.preprocessing, RECIPE) == score == log["accuracy"]
    assert [epoch["accuracy"] for epoch in log["epochs"]] == [
        step.accuracy for step in steps if step.accuracy is not None
    ]
    assert log["recipe"]["learning_rate"] == RECIPE.learning_rate


def test_the_folder_holds_the_best_epoch(photos, our_checkpoint, tmp_path, monkeypatch):
    """Scored 0.5, 0.9, 0.7 in turn, what is written is the second epoch."""
    seen = []

    def epochs(model, *_):
        for number, score in enumerate((0.5, 0.9, 0.7), start=1):
            with torch.no_grad():
                model.head.bias.fill_(number)
            seen.append(score)
            yield run.Step(number, 3, number, 1.0, score)

    monkeypatch.setattr(run, "finetune", epochs)
    start = transformers.read(our_checkpoint, "it")
    score, _ = trained(photos, start, tmp_path / "out")
    assert seen == [0.5, 0.9, 0.7]
    assert score == 0.9
    assert transformers.read(tmp_path / "out", "it").tensors["head.bias"].tolist() == [2, 2]


def test_a_run_that_is_never_right_still_leaves_a_checkpoint(
    photos, our_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(run, "finetune", lambda *_: iter([run.Step(1, 1, 1, 1.0, 0.0)]))
    score, _ = trained(photos, transformers.read(our_checkpoint, "it"), tmp_path / "out")
    assert score == 0
    assert transformers.read(tmp_path / "out", "it").labels == ("blue", "red")


def test_two_runs_from_one_checkpoint_end_alike(photos, our_checkpoint, tmp_path):
    """The first must leave the checkpoint it started from as it was."""
    start = transformers.read(our_checkpoint, "it")
    for name in ("one", "two"):
        trained(photos, start, tmp_path / name, image_size=32, patch_size=8)
    assert torch.equal(weights(tmp_path / "one"), weights(tmp_path / "two"))
