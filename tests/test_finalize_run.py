"""A finished run says what it is worth, and any reader of its folder hears it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vit_demo import explain, load
from vit_demo.checkpoints import hf_format
from vit_demo.checkpoints.files import SUMMARY
from vit_demo.publishing.finalize_run import finalize_run
from vit_demo.training.plan import Plan
from vit_demo.training.recipe import Recipe
from vit_demo.training.run import Watcher, train


@pytest.fixture
def plan(tmp_path, our_checkpoint, noise_photo):
    """Noise cannot be told apart, so that some answers are wrong and a temperature is settled."""
    for number, label in enumerate(("daisy", "roses")):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for photo in range(16):
            picture = noise_photo(40, 30, seed=100 * number + photo)
            picture.save(tmp_path / "photos" / label / f"{photo}.png")
    recipe = Recipe(
        head_epochs=0, epochs=2, batch_size=8, learning_rate=3e-3, warm_up_steps=2, workers=0,
        bfloat16=False,
    )  # fmt: skip
    return Plan(
        str(tmp_path / "photos"), str(our_checkpoint), recipe, image_size=32, patch_size=8,
        held_out=0.5, command="python -m vit_demo finetune …",
    )  # fmt: skip


def test_the_folder_holds_its_score_its_temperature_and_its_card(plan, tmp_path):
    out = tmp_path / "out"
    plan = replace(plan, licence="cc-by-2.0", credit="Ann")
    last = train(plan, hf_format.read(Path(plan.weights), "it"), out, Watcher())
    scores = finalize_run(plan, out)
    summary = json.loads((out / SUMMARY).read_text())
    assert sorted(f"{p.parent.name}/{p.name}" for p, _ in scores.samples) == sorted(
        summary["held_out_photos"]
    )
    assert scores.accuracy.value == last.score.accuracy
    card = (out / "README.md").read_text(encoding="utf-8")
    for words in (plan.command, f"{scores.accuracy.right} of 16", "Ann", "license: cc-by-2.0"):
        assert words in card
    assert (out / "confusion.png").exists()
    assert scores.temperature is not None
    stored = load(str(out)).calibration.temperature
    assert stored == pytest.approx(scores.temperature if scores.temperature_helps else 1)


def test_what_is_scored_is_what_the_run_held_out_though_photos_cannot_be_read(plan, tmp_path):
    """And a class that was left out is no part of it."""
    data = Path(plan.data)
    (data / "orchids").mkdir()
    (data / "daisy" / "9.png").rename(data / "orchids" / "9.png")
    for number in range(4):
        (data / "roses" / f"{number}.png").write_bytes(b"no photo")
    left = replace(plan, leave_out="orchids")
    out = tmp_path / "out"
    train(left, hf_format.read(Path(plan.weights), "it"), out, Watcher())
    scores = finalize_run(left, out)
    listed = json.loads((out / SUMMARY).read_text())["held_out_photos"]
    names = [path.relative_to(data).as_posix() for path, _ in scores.samples]
    assert names == listed
    assert scores.unreadable == {}
    assert scores.chosen.missing == 0
    assert len(names) == 14


def test_transformers_reads_the_folder_and_gives_the_same_logits(plan, tmp_path):
    import oracles

    theirs = oracles.transformers()
    out = tmp_path / "out"
    train(plan, hf_format.read(Path(plan.weights), "it"), out, Watcher())
    finalize_run(plan, out)
    model = theirs.AutoModelForImageClassification.from_pretrained(out, dtype=torch.float32)
    processor = theirs.AutoImageProcessor.from_pretrained(out, backend="pil")
    photo = tmp_path / "photos" / "roses" / "3.png"
    from PIL import Image

    pixels = processor(Image.open(photo), return_tensors="pt")["pixel_values"]
    expected = oracles.logits_of(model.eval(), pixels)[0]
    torch.testing.assert_close(explain(load(str(out)), photo).logits, expected, atol=1e-4, rtol=0)
    assert model.config.id2label == {0: "daisy", 1: "roses"}
