"""The model card: the Hub's client can read it, and it contains only recorded information."""

import json
from collections.abc import Callable

import pytest
import yaml
from huggingface_hub import ModelCard

from vit_demo import load
from vit_demo.checkpoints.calibration import Calibration, store_calibration
from vit_demo.errors import OutputError
from vit_demo.evaluation.eval_set import choose
from vit_demo.evaluation.evaluate import evaluate
from vit_demo.evaluation.report import as_json
from vit_demo.publishing.model_card import NOT_STATED, card, save_card

SUMMARY = {
    "weights": "flowers",
    "recipe": {"epochs": 2, "learning_rate": 0.003, "augmentation": {"area": [0.35, 1.0]}},
    "photos": {"training": 24, "held_out": 8},
    "epochs": [{"epoch": 1}, {"epoch": 2}],
    "minutes": 1.5,
    "command": "python -m vit_demo finetune --data photos --weights start --out new",
}
LABELS = ("daisy", "roses | pink")


def scored(error: float) -> dict[str, object]:
    return {"calibration_error": error, "interval": [0.01, 0.2], "loss": 0.3}


SCORES = {
    "checkpoint": {"ref": "x", "architecture": "ViT S/16", "layout": "transformers"},
    "data": 'photos: "mine" # 1',
    "held_out": True,
    "trained_on": 0,
    "unreadable": [],
    "strangers": None,
    "accuracy": {"right": 9, "total": 12, "share": 0.75, "interval": [0.468, 0.911]},
    "classes": [
        {"label": "daisy", "right": 5, "total": 6, "share": 5 / 6, "interval": [0.4, 0.97],
         "mistaken_for": {"roses | pink": 1}},
        {"label": "roses | pink", "right": 4, "total": 6, "share": 4 / 6, "interval": [0.3, 0.9],
         "mistaken_for": {"daisy": 2}},
    ],
    "calibration": {
        "bins": 15, "folds": 5, "raw": scored(0.125), "in_use": scored(0.06),
        "cross_fitted": scored(0.05), "temperature": 1.31, "unsure_below": 0.62,
    },
}  # fmt: skip


@pytest.fixture
def write() -> Callable[..., str]:
    def write(licence=NOT_STATED, calibration=None, summary=SUMMARY, chosen=False, **changes):
        scores = {**SCORES, **changes}
        stated = calibration or Calibration()
        return card("my: flowers", scores, LABELS, stated, summary, licence, "Ann, Bo", chosen)

    return write


def test_the_hubs_client_reads_the_scores(write):
    data = ModelCard(write("cc-by-2.0"), ignore_metadata_errors=False).data
    assert data.license == "cc-by-2.0"
    assert data.library_name == "transformers"
    assert data.pipeline_tag == "image-classification"
    assert data.model_name == "my: flowers"
    accuracy, error = data.eval_results
    assert (accuracy.metric_type, accuracy.metric_value) == ("accuracy", 0.75)
    assert (error.metric_type, error.metric_value) == ("expected_calibration_error", 0.125)
    assert accuracy.dataset_name == 'photos: "mine" # 1'
    assert accuracy.task_type == "image-classification"


@pytest.mark.parametrize(
    ("licence", "stated"), [("CC BY 2.0: see LICENSE", "other"), (NOT_STATED, None)]
)
def test_a_license_unknown_to_the_hub_is_other(write, licence, stated):
    text = write(licence)
    assert ModelCard(text).data.license == stated
    assert f"* **License.** {licence}" in text


@pytest.mark.parametrize("name", ["a\\b", "ünïcode 🌻", "'single'", "- dash", "yes", "1.0", "{x}"])
def test_any_name_survives_the_front_matter(write, name):
    front = write(data=name).split("---\n")[1]
    dataset = yaml.safe_load(front)["model-index"][0]["results"][0]["dataset"]
    assert dataset["name"] == name


def test_the_card_contains_scores_and_training(write):
    text = write(calibration=Calibration(1.31, 0.62))
    for words in (
        "**9 of 12 held-out photos correctly, 0.750** (95 % interval, Wilson: 0.468 to 0.911)",
        "| daisy | 5 of 6 | 0.833 | 0.400 to 0.970 | roses &#124; pink 1 |",
        "* **Photos.** 24 for training, 8 held out",
        "* **Start.** flowers",
        "* **Epochs.** 2",
        "* **Time.** 1.5 minutes",
        "epochs 2, learning rate 0.003, augmentation (area [0.35, 1.0])",
        SUMMARY["command"],
        "* **Credit.** Ann, Bo",
        "(confusion.png)",
        "has the temperature 1.310",
        "below 62% are called unsure",
        "uncalibrated logits: 0.125",
        "(5 folds): 0.050",
    ):
        assert words in text


def test_missing_information_is_not_recorded(write):
    text = write(summary={}, calibration=None)
    assert "## Training\n\nNot recorded." in text
    assert "No temperature is stored." in text
    partial = write(summary={"minutes": 3})
    assert "* **Command.** not recorded" in partial
    assert "* **Recipe.** not recorded" in partial


def test_ood_scores_are_included_if_there_are_any(write):
    report = {
        "classes": {"orchids": 3, "roses": 4}, "confidence": 0.71, "confidence_in_known": 0.93,
        "told_apart": 0.875,
    }  # fmt: skip
    text = write(**{"strangers": report})
    assert (
        "unknown classes, orchids (3), roses (4): 0.710; on photos of known classes: 0.930" in text
    )
    assert "AUROC: 0.875" in text
    assert "unknown classes" not in write()


def test_reasons_for_optimistic_scores_are_stated(write):
    assert "epoch was selected on the same photos" in write(chosen=True)
    assert "epoch was selected" not in write()
    assert "trained on 5 of these photos" in write(trained_on=5, held_out=False)
    assert "may have been trained on some of" in write(trained_on=None, held_out=False)
    assert "**9 of 12 photos in photos" in write(held_out=False)
    assert "1 photos could not be read" in write(unreadable=[{"photo": "a", "reason": "b"}])


@pytest.fixture
def scores(our_checkpoint, tmp_path, noise_photo):
    for place, label in enumerate(("daisy", "tulips")):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            photo = noise_photo(40, 30, seed=10 * place + number)
            photo.save(tmp_path / "photos" / label / f"{number}.png")
    checkpoint = load(str(our_checkpoint))
    return evaluate(checkpoint, choose(tmp_path / "photos", checkpoint.labels))


def test_the_card_of_a_folder_uses_its_files(scores, our_checkpoint):
    (our_checkpoint / "training.json").write_text(json.dumps(SUMMARY))
    store_calibration(our_checkpoint, Calibration(1.25))
    assert save_card(scores, our_checkpoint, "mit", "Ann") == ["README.md", "confusion.png"]
    read = ModelCard.load(our_checkpoint / "README.md")
    assert read.data.model_name == "ours"
    assert read.data.eval_results[0].metric_value == as_json(scores)["accuracy"]["share"]
    assert "1.5 minutes" in read.text
    assert "has the temperature 1.250" in read.text
    assert (our_checkpoint / "confusion.png").stat().st_size > 1000


def test_only_a_generated_card_is_overwritten(scores, our_checkpoint):
    save_card(scores, our_checkpoint, "mit", "Ann")
    save_card(scores, our_checkpoint, "mit", "Bo")
    assert "* **Credit.** Bo" in (our_checkpoint / "README.md").read_text("utf-8")
    (our_checkpoint / "README.md").write_text("# By hand")
    with pytest.raises(OutputError, match="not written by this command"):
        save_card(scores, our_checkpoint, "mit", "Cy")
    assert (our_checkpoint / "README.md").read_text("utf-8") == "# By hand"
