"""The mean of several runs: of their weights, and of nothing that cannot be averaged."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import oracles
import pytest
import torch
from PIL import Image

from vit_demo import explain, load
from vit_demo.checkpoints import transformers
from vit_demo.checkpoints.files import load_tensors
from vit_demo.errors import DataError, UnsupportedError
from vit_demo.training.average import RUNS, average, mean, summarise
from vit_demo.training.finish import finish
from vit_demo.training.plan import Plan
from vit_demo.training.recipe import Recipe
from vit_demo.training.run import SUMMARY, Watcher, train
from vit_demo.training.selection import held_out_photos

RECIPE = Recipe(
    head_epochs=0, epochs=1, batch_size=8, learning_rate=3e-3, warm_up_steps=1, workers=0,
    bfloat16=False, average=0.0,
)  # fmt: skip


@pytest.fixture
def plan(tmp_path, our_checkpoint, noise_photo):
    photos = tmp_path / "photos"
    for number, label in enumerate(("daisy", "roses", "tulips")):
        (photos / label).mkdir(parents=True)
        for photo in range(8):
            noise_photo(40, 30, seed=100 * number + photo).save(photos / label / f"{photo}.png")
    return Plan(
        str(photos), str(our_checkpoint), RECIPE, image_size=32, patch_size=8, held_out=0.5,
        command="python -m vit_demo finetune … one",
    )  # fmt: skip


@pytest.fixture
def runs(plan, tmp_path):
    """Two runs that differ in how fast they learnt."""
    faster = replace(
        plan,
        recipe=replace(RECIPE, learning_rate=6e-3),
        command="python -m vit_demo finetune … two",
    )
    return [ended(plan, tmp_path / "one"), ended(faster, tmp_path / "two")]


def ended(plan, out):
    train(plan, transformers.read(Path(plan.weights), "it"), out, Watcher())
    return out


def weights(folder):
    return load_tensors(folder / "model.safetensors", "it")


def test_the_mean_of_every_tensor_in_single_precision():
    halves = [
        {"a": torch.tensor([1.0, 60000.0]).half()},
        {"a": torch.tensor([2.0, 62016.0]).half()},
    ]
    (name, value), *rest = mean(halves).items()
    assert (name, rest) == ("a", [])
    # The sum alone would be infinite in half precision.
    assert value.tolist() == [1.5, 61008.0]


def test_what_is_written_lies_in_the_middle_and_is_read_by_all(runs, tmp_path, plan):
    out = tmp_path / "mean"
    assert average(runs, out, "python -m vit_demo average …") == Path(plan.data)
    one, two, middle = (weights(folder) for folder in (*runs, out))
    assert middle.keys() == one.keys()
    for name, value in middle.items():
        expected = (one[name].double() + two[name].double()) / 2
        torch.testing.assert_close(value.double(), expected, rtol=2**-11, atol=2**-25)
    assert any(not torch.equal(one[name], middle[name]) for name in one)

    library = oracles.transformers()
    photo = next(Path(plan.data).rglob("*.png"))
    model = library.AutoModelForImageClassification.from_pretrained(out, dtype=torch.float32)
    processor = library.AutoImageProcessor.from_pretrained(out, backend="pil")
    pixels = processor(Image.open(photo).convert("RGB"), return_tensors="pt")["pixel_values"]
    expected = oracles.logits_of(model.eval(), pixels)[0]
    torch.testing.assert_close(explain(load(str(out)), photo).logits, expected, atol=1e-4, rtol=0)


def test_one_run_twice_is_that_run(runs, tmp_path):
    average([runs[0], runs[0]], tmp_path / "mean")
    once, twice = weights(runs[0]), weights(tmp_path / "mean")
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_only_what_all_of_them_held_out_is_held_out(runs, tmp_path):
    path = runs[1] / SUMMARY
    summary = json.loads(path.read_text())
    learnt, *kept = summary["held_out_photos"]
    path.write_text(json.dumps({**summary, "held_out_photos": kept}))
    average(runs, tmp_path / "mean")
    assert held_out_photos(tmp_path / "mean") == held_out_photos(runs[0]) - {learnt}


def test_its_records_and_its_card_tell_of_every_run(runs, tmp_path, plan):
    out = tmp_path / "mean"
    average(runs, out, "python -m vit_demo average …")
    finish(Path(plan.data), out)
    summary = json.loads((out / SUMMARY).read_text())
    assert summary["weights"] == plan.weights
    assert [run["name"] for run in summary[RUNS]] == ["one", "two"]
    rates = [run["recipe"]["learning_rate"] for run in summary[RUNS]]
    assert rates == [3e-3, 6e-3]
    assert "held_out_photos" not in summary[RUNS][0]
    card = (out / "README.md").read_text(encoding="utf-8")
    for words in (
        "mean of 2 runs", "vit_demo average …", "### one", "finetune … one", "### two",
        "finetune … two", "learning rate 0.006",
    ):  # fmt: skip
        assert words in card
    assert card.index("average …") < card.index("### one") < card.index("finetune … one")


def test_runs_of_one_command_still_say_their_own_time():
    first = {"command": "c", "minutes": 2.0, "data": "d", "accuracy": 0.5}
    said = summarise([first, {**first, "accuracy": 0.75}], ["a", "b"])
    assert said == {
        "data": "d",
        "minutes": 4.0,
        RUNS: [
            {"name": "a", "command": "c", "minutes": 2.0, "accuracy": 0.5},
            {"name": "b", "command": "c", "minutes": 2.0, "accuracy": 0.75},
        ],
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_size": 24}, "have another shape"),
        ({"leave_out": "tulips"}, "have another shape"),
        ({"fold": 2}, "no photo that all of these runs held out"),
    ],
)
def test_runs_that_do_not_fit_together_are_refused(plan, tmp_path, change, reason):
    one, other = ended(plan, tmp_path / "one"), ended(replace(plan, **change), tmp_path / "other")
    with pytest.raises(DataError, match=reason):
        average([one, other], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("config.json", {"id2label": {"0": "x", "1": "y", "2": "z"}}, "know other classes"),
        ("preprocessor_config.json", {"image_mean": [0.5, 0.5, 0.5]}, "read photos otherwise"),
        (SUMMARY, {"weights": "elsewhere"}, "began at other weights"),
        (SUMMARY, {"data": "elsewhere"}, "learnt from other photos"),
        (SUMMARY, {"data": None}, "does not say in its training.json which photos"),
        (SUMMARY, {"held_out_photos": None}, "no training.json that lists held-out photos"),
    ],
)
def test_files_that_disagree_are_refused(runs, tmp_path, file, change, reason):
    path = runs[1] / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=reason):
        average(runs, tmp_path / "mean")


def test_one_run_is_no_mean_and_nothing_is_written_over(runs, tmp_path):
    with pytest.raises(DataError, match="needs 2 runs or more"):
        average(runs[:1], tmp_path / "mean")
    with pytest.raises(DataError, match="finished run"):
        average(runs, runs[0])
    average(runs, tmp_path / "mean")
    with pytest.raises(DataError, match="name another folder"):
        average(runs, tmp_path / "mean")


def test_only_plain_vits_are_averaged(runs, their_checkpoint, tmp_path):
    with_layer_scale, swin = their_checkpoint("dinov2"), tmp_path / "swin"
    library = oracles.transformers()
    library.SwinForImageClassification(
        library.SwinConfig(
            image_size=32, embed_dim=8, depths=[1], num_heads=[1], window_size=2, num_labels=3
        )
    ).save_pretrained(swin)
    for folder, reason in ((with_layer_scale, "fold or drop them"), (swin, "Swin .* is no ViT")):
        shutil.copy(runs[0] / SUMMARY, folder / SUMMARY)
        with pytest.raises(UnsupportedError, match=reason):
            average([folder, folder], tmp_path / "mean")
        assert not (tmp_path / "mean").exists()
