"""Evaluation: the predictions equal those of `explain`, and all scores follow from them."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from vit_demo import explain, load
from vit_demo.checkpoints.calibration import Calibration, store_calibration
from vit_demo.errors import CheckpointError, DataError
from vit_demo.evaluation.eval_set import choose
from vit_demo.evaluation.evaluate import evaluate
from vit_demo.evaluation.ood import confidence, ood_report
from vit_demo.evaluation.report import as_json, save_report

COUNTS = {"daisy": 6, "roses": 5, "tulips": 7}


@pytest.fixture(scope="module")
def photos(tmp_path_factory, noise_photo):
    """A folder of different small photos."""
    folder = tmp_path_factory.mktemp("photos")
    for place, (label, count) in enumerate(COUNTS.items()):
        (folder / label).mkdir()
        for number in range(count):
            photo = noise_photo(40 + number, 36, seed=100 * place + number)
            photo.save(folder / label / f"{number}.png")
    return folder


@pytest.fixture
def checkpoint(our_checkpoint):
    return load(str(our_checkpoint))


@pytest.fixture
def sort_by_answer(checkpoint, photos, tmp_path):
    """Put every photo into the folder of its top class, and every n-th into that of the second."""

    def sort(wrong_every):
        for number, path in enumerate(sorted(photos.rglob("*.png")), start=1):
            place = int(wrong_every > 0 and number % wrong_every == 0)
            label = explain(checkpoint, path).predictions[place].label
            (tmp_path / "sorted" / label).mkdir(parents=True, exist_ok=True)
            name = f"{path.parent.name}-{path.name}"
            Image.open(path).save(tmp_path / "sorted" / label / name)
        return tmp_path / "sorted"

    return sort


def score(checkpoint, photos, **options):
    return evaluate(checkpoint, choose(photos, checkpoint.labels), **options)


def test_predictions_equal_those_of_explain_bit_for_bit(checkpoint, photos):
    scores = score(checkpoint, photos)
    for (path, _), logits in zip(scores.samples, scores.logits, strict=True):
        assert torch.equal(explain(checkpoint, path).logits, logits)


def test_the_scores_follow_from_the_predictions(checkpoint, photos):
    scores = score(checkpoint, photos)
    pairs = [
        (checkpoint.labels[true], explain(checkpoint, path).predictions[0].label)
        for path, true in scores.samples
    ]
    assert scores.accuracy.right == sum(true == said for true, said in pairs)
    assert scores.accuracy.total == len(pairs) == 18
    names = [checkpoint.labels[label] for label in scores.classes]
    for row, true in zip(scores.confusion().tolist(), names, strict=True):
        assert row == [pairs.count((true, said)) for said in names]
    for true in COUNTS:
        share = scores.share(checkpoint.labels.index(true))
        assert (share.right, share.total) == (pairs.count((true, true)), COUNTS[true])


def test_mistakes_are_sorted_by_confidence(checkpoint, photos):
    scores = score(checkpoint, photos)
    mistakes = scores.mistakes()
    assert len(mistakes) == scores.accuracy.total - scores.accuracy.right > 0
    assert all(m.truth != m.predicted and m.photo.parent.name == m.truth for m in mistakes)
    confidences = [m.confidence for m in mistakes]
    assert confidences == sorted(confidences, reverse=True)
    best = explain(checkpoint, mistakes[0].photo).predictions[0]
    assert (mistakes[0].predicted, mistakes[0].confidence) == (
        best.label, pytest.approx(best.probability)
    )  # fmt: skip


def test_progress_is_reported_for_every_photo(checkpoint, photos):
    seen = []
    score(checkpoint, photos, report=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 18) for number in range(1, 19)]


def test_unreadable_photos_are_skipped_and_listed(checkpoint, photos, tmp_path):

    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "daisy" / "0.png").write_text("words")
    (tmp_path / "photos" / "roses" / "1.png").write_bytes(b"")
    scores = score(checkpoint, tmp_path / "photos")
    assert {path.name for path in scores.unreadable} == {"0.png", "1.png"}
    assert all("not a picture" in reason for reason in scores.unreadable.values())
    assert scores.accuracy.total == len(scores.samples) == len(scores.logits) == 16
    whole = score(checkpoint, photos)
    kept = [path.relative_to(tmp_path / "photos") for path, _ in scores.samples]
    same = [i for i, (path, _) in enumerate(whole.samples) if path.relative_to(photos) in kept]
    assert torch.equal(scores.logits, whole.logits[same])


def test_a_photo_smaller_than_a_patch_is_skipped_and_listed(checkpoint, photos, tmp_path):
    """Where the preprocessing does not resize, its size is that of the photo."""
    small = tmp_path / "roses" / "small.png"
    shutil.copytree(photos, tmp_path, dirs_exist_ok=True)
    Image.new("RGB", (40, 3)).save(small)
    unresized = replace(
        checkpoint, preprocessing=replace(checkpoint.preprocessing, resize=None, crop=None)
    )
    scores = score(unresized, tmp_path)
    assert len(scores.samples) == sum(COUNTS.values())
    assert list(scores.unreadable) == [small]
    assert "40 × 3 pixels is smaller than one patch of 8 × 8" in scores.unreadable[small]


def test_a_folder_without_readable_photos_is_refused(checkpoint, tmp_path):
    for label in ("daisy", "roses"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.jpg").write_text("words")
    with pytest.raises(DataError, match="None of the 2 photos .* can be read: 'a.jpg' is not"):
        score(checkpoint, tmp_path)


def test_non_finite_weights_are_refused(checkpoint, photos):
    with torch.no_grad():
        checkpoint.model.head.bias[0] = torch.nan
    with pytest.raises(CheckpointError, match="its weights are damaged"):
        score(checkpoint, photos)


def test_planted_overconfidence_is_measured_and_removed_by_the_temperature(our_checkpoint, photos):
    """Thrice the head, thrice the temperature; what is raw boasts, what is judged fairly does not.

    Stated as a calibration, the same temperature makes the boaster's probabilities those of the
    modest one.
    """
    modest = load(str(our_checkpoint))
    boaster = load(str(our_checkpoint))
    with torch.no_grad():
        for parameter in (boaster.model.head.weight, boaster.model.head.bias):
            parameter.mul_(3)
    plain, boasting = score(modest, photos), score(boaster, photos)
    torch.testing.assert_close(boasting.logits, 3 * plain.logits)
    assert boasting.raw.loss > plain.raw.loss
    stated = replace(boaster, calibration=Calibration(3.0))
    assert score(stated, photos).in_use.loss == pytest.approx(plain.raw.loss, rel=1e-4)
    assert score(stated, photos).raw.loss == pytest.approx(boasting.raw.loss)


def test_a_head_with_three_times_the_weights_gets_three_times_the_temperature(
    checkpoint, sort_by_answer
):
    photos = sort_by_answer(wrong_every=4)
    scores = score(checkpoint, photos)
    assert scores.accuracy.right == 14
    assert 0 < scores.unsure_below <= 1
    with torch.no_grad():
        for parameter in (checkpoint.model.head.weight, checkpoint.model.head.bias):
            parameter.mul_(3)
    assert score(checkpoint, photos).temperature == pytest.approx(3 * scores.temperature, rel=1e-3)


def test_unsure_answers_are_the_wrong_predictions_below_the_threshold(checkpoint, sort_by_answer):
    scores = score(checkpoint, sort_by_answer(wrong_every=3))
    best = (scores.logits.double() / scores.temperature).softmax(dim=-1).max(dim=-1)
    wrong = best.values[best.indices != scores.truth]
    assert scores.unsure_answers.total == len(wrong) == 6
    assert scores.unsure_answers.right == int((wrong < scores.unsure_below).sum())


def test_no_temperature_can_be_fitted_if_all_predictions_are_correct(
    checkpoint, sort_by_answer, tmp_path
):
    scores = score(checkpoint, sort_by_answer(wrong_every=0))
    assert scores.accuracy.value == 1
    assert (scores.temperature, scores.cross_fitted, scores.unsure_below) == (None, None, None)
    assert as_json(scores)["calibration"]["doubted"] is None
    assert "mistakes.png" not in save_report(scores, tmp_path / "out")


def test_in_use_is_measured_with_the_stored_calibration(our_checkpoint, photos):
    before = score(load(str(our_checkpoint)), photos)
    store_calibration(our_checkpoint, Calibration(2.5, 0.4))
    after = score(load(str(our_checkpoint)), photos)
    assert after.raw == before.raw
    assert after.in_use != before.in_use
    assert as_json(after)["calibration"]["in_use"]["temperature"] == 2.5


@pytest.mark.shared
def test_the_bundled_checkpoint_has_the_scores_of_its_card(shared):
    """Six of its held-out photos, taken through the command's own way."""
    from vit_demo.evaluation.eval_set import held_out_photos
    from vit_demo.settings import ASSETS

    checkpoint = load()
    listed = held_out_photos(ASSETS / "checkpoints" / "flowers")
    log = json.loads((ASSETS / "checkpoints" / "flowers" / "training.json").read_text())
    assert len(listed) == log["photos"]["held_out"]
    few = frozenset(sorted(listed)[::55])
    chosen = choose(shared / "flower_photos", checkpoint.labels, few, held_out=True)
    assert (len(chosen.samples), chosen.missing) == (len(few), 0)
    assert evaluate(checkpoint, chosen).accuracy.right >= len(few) - 1


def test_the_readme_states_the_results_of_the_bundled_checkpoint():
    from vit_demo.settings import ASSETS

    checkpoint = load()
    rows, columns = explain(checkpoint, ASSETS / "examples" / "dahlia.jpg").heatmap.shape
    words = " ".join((ASSETS.parent / "README.md").read_text(encoding="utf-8").split())
    threshold = checkpoint.calibration.unsure_below
    assert threshold is not None
    assert f"below {100 * threshold:.1f} %, the prediction is marked as unsure" in words
    assert f"on the {rows} × {columns} grid" in words


def test_a_given_temperature_is_evaluated_next_to_the_cross_fitted_one(checkpoint, sort_by_answer):
    folder = sort_by_answer(3)
    fitted, asked = score(checkpoint, folder), score(checkpoint, folder, temperature=1.0)
    assert asked.temperature == 1.0 != fitted.temperature
    best = asked.logits.double().softmax(dim=-1).max(dim=-1)
    assert asked.unsure_below == float(best.values[best.indices == asked.truth].quantile(0.05))
    assert asked.cross_fitted == fitted.cross_fitted


def test_ood_photos_are_scored_on_request_at_the_fitted_temperature(
    checkpoint, sort_by_answer, noise_photo
):
    folder = sort_by_answer(3)
    (folder / "orchids").mkdir()
    for number in range(4):
        noise_photo(30, 30 + number, seed=900 + number).save(folder / "orchids" / f"{number}.png")
    (folder / "orchids" / "broken.png").write_bytes(b"")
    heard = []
    chosen = choose(folder, checkpoint.labels)
    scores = evaluate(checkpoint, chosen, lambda *done: heard.append(done), ood=True)
    assert heard == [(done, 23) for done in range(1, 24)]
    assert [path.name for path in scores.unreadable] == ["broken.png"]
    assert scores.temperature is not None
    asked = [path for path in chosen.ood if path.name != "broken.png"]
    logits = [explain(checkpoint, path).logits for path in asked]
    expected = ood_report(
        confidence(scores.logits, scores.temperature),
        confidence(torch.stack(logits), scores.temperature),
    )
    assert scores.ood == expected
    assert as_json(scores)["strangers"]["classes"] == {"orchids": 5}
    assert evaluate(checkpoint, chosen).ood is None
    assert as_json(evaluate(checkpoint, chosen))["strangers"] is None
