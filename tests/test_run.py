"""A complete training run: another shape, other classes, and the files of the new folder."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from vit_demo.checkpoints import hf_format
from vit_demo.checkpoints.checkpoint import load_state_dict_strict
from vit_demo.checkpoints.files import BEST, SUMMARY
from vit_demo.errors import ConfigError, DataError, OutputError, StoppedError, UnsupportedError
from vit_demo.models.vit import VisionTransformer
from vit_demo.training.plan import SCRATCH, Plan
from vit_demo.training.recipe import Recipe
from vit_demo.training.run import CURVES, Watcher, train
from vit_demo.training.run_folder import LOG, STATE, RunFolder
from vit_demo.training.trainer import Trainer, summed_score

ROOT = Path(__file__).parents[1]


class Told(Watcher):
    """Records all calls, and stops after a number of steps."""

    def __init__(self, stop_after=None):
        self.steps, self.before = [], []
        self.stop_after = stop_after

    def step(self, step):
        self.steps.append(step)

    def checked(self, checked):
        assert not self.steps
        self.before.append(checked)

    def stop(self):
        return self.stop_after is not None and len(self.steps) + 1 >= self.stop_after


RECIPE = Recipe(
    head_epochs=1, epochs=2, batch_size=8, learning_rate=3e-3, warm_up_steps=4, workers=0,
    bfloat16=False, ema_decay=0.5, mixup=0.2,
)  # fmt: skip


@pytest.fixture
def photos(tmp_path):
    for label, colour in (("blue", (40, 60, 200)), ("red", (200, 60, 40))):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(16):
            shade = tuple(part + number for part in colour)
            photo = Image.new("RGB", (40, 30), shade)
            photo.save(tmp_path / "photos" / label / f"{number:02}.png")
    return tmp_path / "photos"


@pytest.fixture
def plan(photos, our_checkpoint):
    return Plan(
        data=str(photos),
        weights=str(our_checkpoint),
        recipe=RECIPE,
        image_size=24,
        patch_size=12,
        held_out=0.25,
        command="python -m vit_demo finetune …",
    )


@pytest.fixture
def start(our_checkpoint):
    return hf_format.read(our_checkpoint, "it")


def weights(folder):
    return torch.cat([v.flatten() for v in hf_format.read(folder, "it").tensors.values()])


def test_photos_and_a_checkpoint_become_another_checkpoint(plan, start, photos, tmp_path):
    """From five classes at 32 pixels in patches of 8 to two at 24 pixels in patches of 12."""
    out, told = tmp_path / "out", Told()
    last = train(plan, start, out, told)
    assert told.steps[-1] == last
    stored = hf_format.read(out, "it")
    assert stored.labels == ("blue", "red")
    assert (stored.config.image_size, stored.config.patch_size) == ((24, 24), 12)
    assert (stored.preprocessing.resize, stored.preprocessing.crop) == (26, (24, 24))
    model = VisionTransformer(stored.config)
    load_state_dict_strict(model, stored.tensors, "it")
    summary = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
    assert summary["photos"]["training"] == 24
    assert summary["photos"]["classes"] == {"blue": 16, "red": 16}
    kept = [(photos / name, int(name.startswith("red"))) for name in summary["held_out_photos"]]
    assert len(kept) == 8
    # Half precision on disk, and the score holds all the same.
    right, _ = summed_score(model, kept, stored.preprocessing, RECIPE)
    assert right / 8 == last.score.accuracy == summary["accuracy"]
    scored = [step for step in told.steps if step.score]
    assert [line["accuracy"] for line in summary["epochs"]] == [s.score.accuracy for s in scored]
    assert [line["stage"] for line in summary["epochs"]] == ["head", "all", "all"]
    assert summary["recipe"] == json.loads(json.dumps(RECIPE.as_json()))
    assert summary["command"] == plan.command
    lines = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 10))
    with Image.open(out / CURVES) as curves:
        assert curves.width > 500


def test_layer_scale_is_trained_and_folded_when_saved(plan, start, photos, tmp_path):
    gammas = {
        f"blocks.{block}.ls{branch}.gamma": torch.linspace(0.2, 4, start.config.width)
        for block in range(start.config.depth)
        for branch in (1, 2)
    }
    scaled = replace(
        start,
        config=replace(start.config, layer_scale=1.0),
        tensors={**start.tensors, **gammas},
    )
    with pytest.raises(StoppedError):
        train(plan, scaled, tmp_path / "out", Told(stop_after=5))
    state = torch.load(tmp_path / "out" / STATE, weights_only=True)
    learnt = state["trainer"]["model"]["blocks.0.ls1.gamma"]
    assert not torch.equal(learnt, gammas["blocks.0.ls1.gamma"])
    last = train(plan, scaled, tmp_path / "out", Watcher(), resume=True)
    stored = hf_format.read(tmp_path / "out", "it")
    assert stored.config.layer_scale is None
    model = VisionTransformer(stored.config)
    load_state_dict_strict(model, stored.tensors, "it")
    names = json.loads((tmp_path / "out" / SUMMARY).read_text(encoding="utf-8"))["held_out_photos"]
    kept = [(photos / name, int(name.startswith("red"))) for name in names]
    _, loss = summed_score(model, kept, stored.preprocessing, RECIPE)
    assert loss / len(kept) == pytest.approx(last.score.loss, rel=0.01)


def test_the_folder_contains_the_last_epoch_and_the_best_one(plan, start, tmp_path, monkeypatch):
    """Scored 0.5, 0.9, 0.7 in turn, the best is the second."""
    scores = iter((0.5, 0.9, 0.7))
    seen = []

    def score(self):
        seen.append(self.result.state_dict()["head.bias"].half().clone())
        return replace(real(self), accuracy=next(scores))

    real = Trainer.score
    monkeypatch.setattr(Trainer, "score", score)
    train(plan, start, tmp_path / "out", Watcher())
    for folder, expected in ((tmp_path / "out", seen[2]), (tmp_path / "out" / BEST, seen[1])):
        written = hf_format.read(folder, "it").tensors["head.bias"]
        assert torch.equal(written, expected)
    assert not torch.equal(seen[1], seen[2])


def test_two_runs_from_one_checkpoint_give_the_same_weights(plan, start, tmp_path):
    """The first run must not change the starting checkpoint."""
    same = replace(plan, image_size=32, patch_size=8)
    for name in ("one", "two"):
        train(same, start, tmp_path / name, Watcher())
    assert torch.equal(weights(tmp_path / "one"), weights(tmp_path / "two"))


def test_training_from_scratch_needs_no_checkpoint(plan, tmp_path, monkeypatch, tiny_config):
    monkeypatch.setattr("vit_demo.training.plan.preset", lambda _: tiny_config)
    scratch = replace(plan, weights=SCRATCH, recipe=replace(RECIPE, head_epochs=0))
    train(scratch, None, tmp_path / "out", Watcher())
    assert hf_format.read(tmp_path / "out", "it").labels == ("blue", "red")


@pytest.mark.parametrize("after", [1, 3, 4, 8])
def test_a_stopped_run_says_how_to_resume_and_gives_the_same_weights(plan, start, tmp_path, after):
    train(plan, start, tmp_path / "whole", Watcher())
    out = tmp_path / "out"
    with pytest.raises(StoppedError, match=f"after step {after} of 9; .*--resume"):
        train(plan, start, out, Told(stop_after=after))
    again = Plan.from_json(RunFolder(out).plan())
    assert again == plan
    rest = Told()
    train(again, start, out, rest, resume=True)
    assert [step.step for step in rest.steps] == list(range(after + 1, 10))
    assert torch.equal(weights(out), weights(tmp_path / "whole"))
    steps = [json.loads(line)["step"] for line in (out / LOG).read_text().splitlines()]
    assert steps == list(range(1, 10))
    assert not (out / STATE).exists()


@pytest.mark.slow
def test_a_killed_run_can_be_resumed_with_the_same_weights(plan, photos, tmp_path):
    """The real command, killed with SIGKILL at several moments."""
    recipe = ["--learning-rate", "0.003", "--epochs", "4", "--batch-size", "4", "--set",
              "workers=0", "--set", "mixup=0.2"]  # fmt: skip
    common = ["--data", str(photos), "--weights", plan.weights, "--image-size", "32",
              "--patch-size", "8", "--save-every", "3", *recipe]  # fmt: skip

    def command(*arguments):
        line = [sys.executable, "-m", "vit_demo", "finetune", *arguments]
        return subprocess.Popen(
            line, cwd=ROOT, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    whole = command("--out", str(tmp_path / "whole"), *common)
    assert whole.wait() == 0, whole.stderr.read()
    out = tmp_path / "out"
    chance = random.Random(4)
    broken = command("--out", str(out), *common)
    log = out / LOG
    for _ in range(3):
        seen = len(log.read_text().splitlines()) if log.exists() else 0
        wanted = seen + chance.randrange(1, 12)
        while broken.poll() is None and (
            not log.exists() or len(log.read_text().splitlines()) < wanted
        ):
            time.sleep(0.002)
        broken.send_signal(signal.SIGKILL)
        assert broken.wait() in (-signal.SIGKILL, 0)
        broken.stderr.close()
        broken = command("--out", str(out), "--resume")
    assert broken.wait() == 0, broken.stderr.read()
    assert torch.equal(weights(out), weights(tmp_path / "whole"))
    broken.stderr.close()
    whole.stderr.close()


def test_neither_an_unfinished_nor_a_finished_run_is_overwritten(plan, start, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(StoppedError):
        train(plan, start, out, Told(stop_after=1))
    with pytest.raises(DataError, match="a run that is not finished; resume it with --resume"):
        train(plan, start, out, Watcher())
    train(plan, start, out, Watcher(), resume=True)
    with pytest.raises(DataError, match="is finished; there is nothing to resume"):
        train(plan, start, out, Watcher(), resume=True)
    with pytest.raises(DataError, match="contains a finished run; name another folder"):
        train(plan, start, out, Watcher())


def test_a_run_with_the_name_of_a_bundled_checkpoint_is_refused(plan, start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="'flowers' is the name of a bundled checkpoint"):
        train(plan, start, Path("flowers"), Watcher())
    assert not Path("flowers").exists()


def test_resuming_without_a_run_or_with_other_photos_is_refused(plan, start, photos, tmp_path):
    with pytest.raises(DataError, match="contains no run to resume"):
        RunFolder(tmp_path / "nothing").plan()
    with pytest.raises(StoppedError):
        train(plan, start, tmp_path / "out", Told(stop_after=1))
    for name in ("00", "01", "02", "03"):
        (photos / "red" / f"{name}.png").unlink()
    with pytest.raises(DataError, match="have changed since the run was started"):
        train(plan, start, tmp_path / "out", Watcher(), resume=True)


def test_a_run_killed_at_its_end_is_finished_by_resuming(plan, start, tmp_path):
    out = tmp_path / "out"
    last = train(plan, start, out, Watcher())
    folder = RunFolder(out)
    written = weights(out)
    # As it lies on the disk between the last save and the note that the run is over.
    plain = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**plain, "finished": False}))
    assert last.step == 9
    again = tmp_path / "again"
    with pytest.raises(StoppedError):
        train(plan, start, again, Told(stop_after=8))
    state = folder.restored(cut=False) or RunFolder(again).restored(cut=False)
    train(plan, start, again, Watcher(), resume=True)
    folder.save({**state, "step": 9, "trainer": {**state["trainer"], "step": 9, "losses": []}})
    assert train(plan, start, out, Watcher(), resume=True) is None
    assert folder.finished
    assert torch.equal(weights(out), written)


def test_another_number_of_processes_is_refused(plan, start, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(StoppedError):
        train(plan, start, out, Told(stop_after=2))
    folder = RunFolder(out)
    folder.save({**folder.restored(cut=False), "processes": 2})
    with pytest.raises(DataError, match="with 2 processes and would give other results with 1"):
        train(plan, start, out, Watcher(), resume=True)


def test_an_existing_checkpoint_is_not_overwritten(plan, start, our_checkpoint):
    before = weights(our_checkpoint)
    with pytest.raises(DataError, match="a checkpoint that was not made by this command"):
        train(plan, start, our_checkpoint, Watcher())
    assert torch.equal(weights(our_checkpoint), before)


def test_an_unwritable_folder_is_refused(plan, start, photo_file):
    with pytest.raises(OutputError, match="cannot be written to"):
        train(plan, start, photo_file / "out", Watcher())


def test_photos_are_reported_before_training_begins(plan, start, photos, tmp_path):
    (photos / "red" / "00.png").write_bytes(b"no photo")
    told = Told()
    train(plan, start, tmp_path / "out", told)
    [checked] = told.before
    assert [path.name for path, _ in checked.unreadable] == ["00.png"]
    summary = json.loads((tmp_path / "out" / SUMMARY).read_text(encoding="utf-8"))
    [entry] = summary["unreadable_photos"]
    assert entry["photo"] == "red/00.png"
    assert "is not a picture" in entry["reason"]
    assert summary["photos"]["unreadable"] == 1
    assert "red/00.png" not in summary["held_out_photos"]


def test_duplicates_across_the_split_are_recorded_in_pairs(plan, start, photos, tmp_path):
    """Photos of uniform color have the same hash."""
    train(plan, start, tmp_path / "out", Watcher())
    summary = json.loads((tmp_path / "out" / SUMMARY).read_text(encoding="utf-8"))
    pairs = summary["duplicate_photos"]
    assert [pair["held_out"] for pair in pairs] == summary["held_out_photos"]
    assert len(pairs) == summary["photos"]["duplicates"] == 8
    for pair in pairs:
        assert (photos / pair["training"]).exists()
        assert pair["training"] not in summary["held_out_photos"]
    assert summary["unreadable_photos"] == []


@pytest.mark.parametrize("number", range(4))
def test_a_run_with_an_unreadable_photo_resumes_with_the_same_split(
    plan, start, photos, tmp_path, number
):
    (photos / "red" / f"{number:02}.png").write_bytes(b"no photo")
    out, rest = tmp_path / "out", Told()
    first = Told(stop_after=1)
    with pytest.raises(StoppedError):
        train(plan, start, out, first)
    train(plan, start, out, rest, resume=True)
    assert rest.before == first.before
    summary = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
    assert summary["photos"]["classes"] == {"blue": 16, "red": 15}


def test_an_unsupported_start_is_refused_before_any_photo_is_opened(plan, tmp_path, start):
    mean = replace(start.config, class_token=False, pooling="mean")
    told = Told()
    with pytest.raises(UnsupportedError, match="start from a ViT, DeiT or DINOv2 with a class"):
        train(plan, replace(start, config=mean), tmp_path / "out", told)
    with pytest.raises(ConfigError, match="not a whole number of"):
        train(replace(plan, image_size=25), start, tmp_path / "out", told)
    assert told.before == []
    assert not (tmp_path / "out").exists()
