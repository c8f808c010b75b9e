"""From scratch against pretrained: the same budget, one table, one plot."""

import json
import sys
from dataclasses import replace

import pytest
from PIL import Image

from vit_demo.checkpoints import hf_format
from vit_demo.checkpoints.files import SUMMARY
from vit_demo.cli import main
from vit_demo.errors import DataError, StoppedError
from vit_demo.evaluation.metrics import Share
from vit_demo.training.experiment import COMPARISON, PLOT, Arm, compare
from vit_demo.training.plan import Plan
from vit_demo.training.recipe import SCRATCH_LEARNING_RATE, Recipe
from vit_demo.training.run import Watcher

RECIPE = Recipe(
    head_epochs=1, epochs=2, batch_size=4, learning_rate=3e-3, warm_up_steps=2, workers=0,
    bfloat16=False,
)  # fmt: skip


class Stops(Watcher):
    """Stops at once."""

    def stop(self):
        return True


@pytest.fixture
def start(our_checkpoint):
    return hf_format.read(our_checkpoint, "it")


@pytest.fixture
def plan(tmp_path, our_checkpoint, noise_photo):
    for number, label in enumerate(("daisy", "roses")):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for photo in range(6):
            picture = noise_photo(40, 30, seed=10 * number + photo)
            picture.save(tmp_path / "photos" / label / f"{photo}.png")
    return Plan(
        str(tmp_path / "photos"), str(our_checkpoint), RECIPE, image_size=32, patch_size=8,
        held_out=0.34,
    )  # fmt: skip


def test_both_have_the_same_budget_and_photos_and_only_one_the_weights(plan, start, tmp_path):
    out = tmp_path / "out"
    names = []
    pretrained, scratch = compare(plan, start, out, lambda name: names.append(name) or Watcher())
    assert names == ["pretrained", "from scratch"]
    for key in ("photos", "held_out_photos", "image_size", "patch_size"):
        assert pretrained.summary[key] == scratch.summary[key]
    assert len(pretrained.accuracies) == len(scratch.accuracies) == 3
    assert [e["stage"] for e in pretrained.summary["epochs"]] == ["head", "all", "all"]
    assert [e["stage"] for e in scratch.summary["epochs"]] == ["all"] * 3
    assert scratch.summary["weights"] == "none"
    shapes = [
        {name: value.shape for name, value in hf_format.read(out / f, "it").tensors.items()}
        for f in ("pretrained", "from-scratch")
    ]
    assert shapes[0] == shapes[1]
    table = json.loads((out / COMPARISON).read_text())
    assert table["from scratch"]["epochs"] == scratch.accuracies
    assert table["pretrained"]["accuracy"] == pretrained.accuracies[-1]
    for arm in (pretrained, scratch):
        low, high = table[arm.name]["interval"]
        assert low <= table[arm.name]["accuracy"] <= high
        assert arm.last.total == len(arm.summary["held_out_photos"])
        assert arm.last.value == pytest.approx(arm.accuracies[-1], abs=1e-6)
    with Image.open(out / PLOT) as plot:
        assert plot.width > 500


def test_what_was_broken_off_is_gone_on_with_and_what_is_done_is_kept(plan, start, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(StoppedError):
        compare(plan, start, out, lambda name: Stops() if name == "from scratch" else Watcher())
    kept = (out / "pretrained" / "model.safetensors").stat().st_mtime_ns
    arms = compare(plan, start, out, lambda _: Watcher())
    assert (out / "pretrained" / "model.safetensors").stat().st_mtime_ns == kept
    whole = compare(plan, start, tmp_path / "whole", lambda _: Watcher())
    assert [arm.accuracies for arm in arms] == [arm.accuracies for arm in whole]


def test_another_plan_in_the_same_folder_is_refused(plan, start, tmp_path):
    compare(plan, start, tmp_path / "out", lambda _: Watcher())
    with pytest.raises(DataError, match="a run with another plan"):
        compare(replace(plan, held_out=0.5), start, tmp_path / "out", lambda _: Watcher())


def test_the_last_score_is_counted_in_photos():
    """Two of three, as a float with too few digits."""
    summary = {"photos": {"held_out": 3}, "epochs": [{"accuracy": 0.0}, {"accuracy": 0.6667}]}
    assert Arm("it", Plan("photos", "ref", RECIPE), summary).last == Share(2, 3)


def test_the_same_command_in_another_order_goes_on_and_says_where_all_is(
    plan, our_checkpoint, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "a [red] folder"
    options = [
        ("--data", plan.data), ("--weights", str(our_checkpoint)), ("--out", str(out)),
        ("--head-epochs", "1"), ("--epochs", "1"), ("--image-size", "32"), ("--patch-size", "8"),
        ("--held-out", "0.34"), ("--set", "batch_size=4"), ("--set", "workers=0"),
        ("--set", "warm_up_steps=1"),
    ]  # fmt: skip
    said = []
    for order in (options, options[::-1]):
        arguments = [word for option in order for word in option]
        monkeypatch.setattr(sys, "argv", ["vit_demo", "experiment", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        words = capsys.readouterr()
        assert ended.value.code == 0, words.err
        said.append(words.out)
    assert said[0] == said[1]
    assert f"4 photos held out; {out / PLOT}" in said[0]
    assert "95 %" in said[0]
    assert "best accuracy" in said[0]
    for name, rate in (
        ("pretrained", Recipe.learning_rate),
        ("from-scratch", SCRATCH_LEARNING_RATE),
    ):
        summary = json.loads((out / name / SUMMARY).read_text())
        assert summary["recipe"]["learning_rate"] == rate
    table = json.loads((out / COMPARISON).read_text())
    for arm in table.values():
        low, high = arm["interval"]
        assert f"{low:.3f} to {high:.3f}" in said[0]
