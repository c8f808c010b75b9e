"""What logits mean: one class of many, each class apart, or a number; everywhere the same."""

import json

import pytest
import torch

from vit_demo import explain
from vit_demo.captions import account, sheet
from vit_demo.checkpoints import load
from vit_demo.checkpoints.files import CONFIG
from vit_demo.checkpoints.problem import read_problem
from vit_demo.errors import UnsupportedError
from vit_demo.explanations.occlusion import blocks
from vit_demo.figures.sheet import draw_sheet
from vit_demo.ui.explorer.lens import lens_to_come
from vit_demo.ui.explorer.payload import map_view

MULTI, REGRESSION = "multi_label_classification", "regression"


def one_logit(their_checkpoint, problem_type):
    names = {"id2label": {0: "ripe"}, "label2id": {"ripe": 0}}
    return their_checkpoint(**names, problem_type=problem_type)


def their_logits(folder, path):
    from transformers import AutoImageProcessor, AutoModelForImageClassification
    from transformers.image_utils import load_image

    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    pixels = processor(load_image(str(path)), return_tensors="pt").pixel_values
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(pixels.float()).logits[0]


@pytest.mark.parametrize(
    ("stated", "classes", "problem"),
    [
        (None, 5, "single_label"),
        ("single_label_classification", 5, "single_label"),
        (MULTI, 5, "multi_label"),
        (REGRESSION, 5, "regression"),
        (None, 1, "multi_label"),
        ("single_label_classification", 1, "multi_label"),
        (REGRESSION, 1, "regression"),
    ],
)
def test_a_configuration_says_what_logits_mean(stated, classes, problem):
    assert read_problem({"problem_type": stated}, classes, "it") == problem


def test_another_problem_is_refused():
    with pytest.raises(UnsupportedError, match=r"problem_type=\['a'\]; readable: single_label_cl"):
        read_problem({"problem_type": ["a"]}, 5, "it")


def test_of_several_labels_each_has_a_probability_of_its_own(their_checkpoint, photo_file, run):
    folder = their_checkpoint(problem_type=MULTI)
    expected = their_logits(folder, photo_file).sigmoid()
    analysis = explain(load(str(folder)), photo_file)
    for each in analysis.predictions:
        assert each.probability == pytest.approx(float(expected[each.index]), abs=1e-4)
    assert sum(each.probability for each in analysis.predictions) != pytest.approx(1, abs=0.1)
    assert analysis.as_json()["problem_type"] == "multi_label"
    status, out, _ = run("explain", photo_file, "--checkpoint", folder)
    assert (status, "they do not sum to one" in out) == (0, True)


def test_one_logit_without_a_problem_is_a_sigmoid(their_checkpoint, photo_file, run):
    folder = one_logit(their_checkpoint, None)
    expected = float(their_logits(folder, photo_file).sigmoid())
    analysis = explain(load(str(folder)), photo_file, method="occlusion")
    assert analysis.predictions[0].probability == pytest.approx(expected, abs=1e-4)
    assert analysis.heatmap.abs().max() > 0
    status, out, _ = run("explain", photo_file, "--checkpoint", folder, "--json", "--faithfulness")
    trust = json.loads(out)["trust"]
    assert status == 0
    assert trust["map"]["curves"]["deletion"][0] == pytest.approx(expected, abs=1e-3)
    assert trust["map"]["curves"]["deletion"][-1] != trust["map"]["curves"]["deletion"][0]


def test_a_regression_gives_its_number_everywhere(their_checkpoint, photo_file, run):
    folder = one_logit(their_checkpoint, REGRESSION)
    expected = float(their_logits(folder, photo_file))
    analysis = explain(load(str(folder)), photo_file, method="occlusion", options={"block": 2})
    best = analysis.predictions[0]
    assert (best.probability, best.value) == (None, pytest.approx(expected, abs=1e-4))
    assert repr(analysis).count("%") == 0
    content = analysis.as_json()
    assert content["problem_type"] == "regression"
    (listed,) = content["predictions"]
    assert listed == {"index": 0, "label": "ripe", "probability": None, "value": best.value}
    assert analysis.heatmap.abs().max() > 0
    view = map_view(analysis)
    assert (view["format"], view["unit"]["key"]) == ("number", "unit.occlusion.value")
    assert lens_to_come(load(str(folder)).model)["reason"]["key"] == "lens.no_probability"
    words = sheet(analysis)
    assert (words.percent, words.class_percent) == (False, False)
    assert words.unit == "decrease in value when the block is masked"
    draw_sheet(words)
    status, out, _ = run("explain", photo_file, "--checkpoint", folder, "--faithfulness")
    written = f"{expected:.4g}".replace("-", "\u2212")
    assert status == 0
    assert f"ripe {written}" in " ".join(out.split())
    assert "100.00%" not in out
    assert "We track the value of ripe" in " ".join(out.split())


def test_occlusion_is_the_fall_of_the_number(their_checkpoint, photo_file):
    """A block of 2 × 2 patches of the mean color, written out by hand."""
    checkpoint = load(str(one_logit(their_checkpoint, REGRESSION)))
    options = {"block": 2, "hide": "mean"}
    analysis = explain(checkpoint, photo_file, method="occlusion", options=options)
    pixels = checkpoint.preprocessing(analysis.photo).pixels
    mask = blocks(analysis.grid, 2)[0].reshape(1, 1, *analysis.grid)
    mask = mask.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    hidden = torch.where(mask, pixels.mean(dim=(2, 3), keepdim=True), pixels)
    with torch.no_grad():
        fall = checkpoint.model(pixels) - checkpoint.model(hidden)
    torch.testing.assert_close(analysis.heatmap[0, 0], fall[0, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("problem_type", [MULTI, REGRESSION])
def test_evidence_adds_up_to_the_logit_itself(their_checkpoint, photo_file, problem_type):
    checkpoint = load(str(one_logit(their_checkpoint, problem_type)))
    analysis = explain(checkpoint, photo_file, method="evidence")
    assert analysis.account.total == pytest.approx(float(analysis.logits[0]), abs=1e-3)
    assert account(analysis).startswith("The logit of ripe is ")


def test_evaluating_what_names_no_class_of_several_is_refused(their_checkpoint, three_classes, run):
    for problem_type in (None, REGRESSION):
        folder = one_logit(their_checkpoint, problem_type)
        config_json = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config_json["id2label"] = {"0": "roses"}
        (folder / CONFIG).write_text(json.dumps(config_json), encoding="utf-8")
        status, _, err = run("evaluate", "--data", three_classes, "--checkpoint", folder)
        assert status == 2
        assert "cannot be scored on photos in folders of classes" in " ".join(err.split())


def test_evaluating_several_labels_uses_their_own_probabilities(
    their_checkpoint, three_classes, run
):
    folder = their_checkpoint(problem_type=MULTI)
    status, out, err = run("evaluate", "--data", three_classes, "--checkpoint", folder, "--json")
    assert (status, err.count("Traceback")) == (0, 0)
    found = json.loads(out)["mistakes"]
    checkpoint = load(str(folder))
    first = explain(checkpoint, three_classes / found[0]["photo"]).predictions[0]
    assert found[0]["confidence"] == pytest.approx(first.probability, abs=1e-5)
