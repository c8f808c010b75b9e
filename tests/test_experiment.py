"""From scratch against pretrained: the same budget, one table, one plot."""

import json

import pytest
from PIL import Image

from vit_demo.checkpoints import transformers
from vit_demo.errors import DataError, StoppedError
from vit_demo.training.experiment import COMPARISON, PLOT, compare
from vit_demo.training.plan import Plan
from vit_demo.training.recipe import Recipe
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
    return transformers.read(our_checkpoint, "it")


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
        {name: value.shape for name, value in transformers.read(out / f, "it").tensors.items()}
        for f in ("pretrained", "from-scratch")
    ]
    assert shapes[0] == shapes[1]
    table = json.loads((out / COMPARISON).read_text())
    assert table["from scratch"]["epochs"] == scratch.accuracies
    assert table["pretrained"]["accuracy"] == pretrained.accuracies[-1]
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
    from dataclasses import replace

    compare(plan, start, tmp_path / "out", lambda _: Watcher())
    with pytest.raises(DataError, match="a run with another plan"):
        compare(replace(plan, held_out=0.5), start, tmp_path / "out", lambda _: Watcher())
