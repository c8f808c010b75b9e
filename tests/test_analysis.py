"""The whole pipeline: from a photo file to predictions, a map and its position on the photo."""

import gc
import json
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from vit_demo import explain, load
from vit_demo.analysis import prepare
from vit_demo.checkpoints.calibration import Calibration, store_calibration
from vit_demo.errors import CheckpointError, MethodError, OptionError, PhotoError, TargetError
from vit_demo.explanations import METHODS, run_with_trace
from vit_demo.explanations.capability import capabilities
from vit_demo.faithfulness import parts_of
from vit_demo.photo import read_photo

KEYS = {
    "checkpoint", "photo", "predictions", "method", "target", "grid", "heatmap", "signed",
    "exact", "options", "box", "unsure", "problem_type", "preprocessing_source", "notes",
}  # fmt: skip


@pytest.fixture
def checkpoint(our_checkpoint):
    return load(str(our_checkpoint))


def test_the_predictions_are_the_models_own(checkpoint, photo_file):
    analysis = explain(checkpoint, photo_file)
    pixels = checkpoint.preprocessing(read_photo(photo_file)).pixels
    logits = checkpoint.model(pixels)[0]
    assert torch.equal(analysis.logits, logits)
    assert analysis.predictions[0].label == checkpoint.labels[int(logits.argmax())]
    probabilities = [p.probability for p in analysis.predictions]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    for prediction in analysis.predictions:
        expected = logits.softmax(dim=-1)[prediction.index]
        assert prediction.probability == pytest.approx(float(expected))


def test_non_finite_logits_are_refused(checkpoint, photo_file):
    """Finite weights can still overflow in the forward pass."""
    broken = load(checkpoint.ref)
    with torch.no_grad():
        broken.model.head.weight.mul_(3e38)
    for method in ("rollout", "relevance"):
        with pytest.raises(CheckpointError, match="answers with infinite values or none at all"):
            explain(broken, photo_file, method)


def test_a_non_finite_map_is_refused(checkpoint, photo_file):
    """The gradients overflow although the logits do not."""
    broken = load(checkpoint.ref)
    with torch.no_grad():
        for block in broken.model.blocks:
            block.attn.qkv.weight.mul_(1e18)
    assert explain(broken, photo_file, "rollout").logits.isfinite().all()
    with pytest.raises(CheckpointError, match="The map of 'relevance' for .* infinite or NaN"):
        explain(broken, photo_file, "relevance")


def test_an_array_is_analysed_like_its_photo(checkpoint, noise_photo):
    photo = noise_photo(50, 40)
    by_array = explain(checkpoint, np.asarray(photo))
    assert torch.equal(by_array.logits, explain(checkpoint, photo).logits)


def test_the_json_has_the_documented_keys_and_values(checkpoint, photo_file):
    analysis = explain(checkpoint, photo_file, "attention", options={"layer": 2})
    content = json.loads(json.dumps(analysis.as_json(top=3)))
    assert set(content) == KEYS
    assert set(content["checkpoint"]) == {"ref", "revision", "architecture", "layout"}
    assert content["checkpoint"]["layout"] == "transformers"
    assert content["photo"] == {"width": 101, "height": 67}
    assert [set(p) for p in content["predictions"]] == [{"index", "label", "probability"}] * 3
    assert content["method"] == "attention"
    assert content["target"] is None
    assert content["grid"] == [4, 4]
    assert [len(row) for row in content["heatmap"]] == [4] * 4
    assert sum(map(sum, content["heatmap"])) == pytest.approx(1)
    assert (content["signed"], content["exact"]) == (False, True)
    assert content["options"] == {"layer": 2, "head": 0}
    assert content["box"] == [0, 0, 101, 67]


def test_logits_are_optional_and_top_is_limited_to_the_classes(checkpoint, photo_file):
    content = explain(checkpoint, photo_file).as_json(top=50, logits=True)
    assert len(content["predictions"]) == len(content["logits"]) == 5


@pytest.mark.parametrize("target", ["roses", "2", 2])
def test_a_target_is_a_label_or_an_index(checkpoint, photo_file, target):
    found = explain(checkpoint, photo_file, target=target).as_json()["target"]
    assert found == {"index": 2, "label": "roses"}


@pytest.mark.parametrize(
    ("target", "words"),
    [("rose", "did you mean 'roses'"), ("9", "classes are 0 to 4"), (-1, "classes are 0 to 4")],
)
def test_an_unknown_class_is_refused(checkpoint, photo_file, target, words):
    with pytest.raises(TargetError, match=words):
        explain(checkpoint, photo_file, target=target)


def test_unknown_methods_options_and_photos_are_refused(checkpoint, photo_file, tmp_path):
    with pytest.raises(MethodError, match="no method 'rolout'"):
        explain(checkpoint, photo_file, "rolout")
    with pytest.raises(OptionError, match="no option 'layers'"):
        explain(checkpoint, photo_file, "attention", options={"layers": 1})
    with pytest.raises(PhotoError, match="no photo at"):
        explain(checkpoint, tmp_path / "none.jpg")


CLASS_SPECIFIC = [name for name, method in METHODS.items() if method.class_specific]


@pytest.mark.parametrize("method", CLASS_SPECIFIC)
def test_the_top_class_is_explained_unless_a_target_is_given(checkpoint, photo_file, method):
    prepared = prepare(checkpoint, photo_file)
    top = prepared.explain(method)
    assert top.target == top.predictions[0]
    other = prepared.explain(method, target=top.predictions[1].label)
    assert other.target == top.predictions[1]
    assert (top.heatmap - other.heatmap).abs().max() > 1e-3 * top.heatmap.abs().max()


@pytest.mark.parametrize("method", CLASS_SPECIFIC)
def test_the_map_versus_another_class_is_the_difference_of_their_maps(
    checkpoint, photo_file, method
):
    prepared = prepare(checkpoint, photo_file)
    one, other = (prepared.explain(method, target) for target in ("roses", "tulips"))
    versus = prepared.explain(method, "roses", versus="4")
    torch.testing.assert_close(versus.heatmap, one.heatmap - other.heatmap)
    swapped = prepared.explain(method, "tulips", versus=2)
    torch.testing.assert_close(swapped.heatmap, -versus.heatmap)
    content = versus.as_json()
    account = {"account"} if METHODS[method].account else set()
    assert set(content) == KEYS | {"versus"} | account
    assert content["target"] == {"index": 2, "label": "roses"}
    assert content["versus"] == {"index": 4, "label": "tulips"}
    assert content["signed"] is True
    assert "versus" not in one.as_json()
    assert one.signed is METHODS[method].signed


@pytest.mark.parametrize(
    ("method", "target", "versus", "error", "words"),
    [
        ("rollout", "roses", "tulips", MethodError, "choose one of: relevance, legrad, evidence"),
        ("relevance", "roses", "2", TargetError, "'roses' cannot be compared with itself"),
        ("relevance", "roses", "tulip", TargetError, "did you mean 'tulips'"),
    ],
)
def test_an_impossible_comparison_is_refused(
    checkpoint, photo_file, method, target, versus, error, words
):
    with pytest.raises(error, match=words):
        explain(checkpoint, photo_file, method, target, versus=versus)


def test_methods_without_gradients_share_one_pass(checkpoint, photo_file):
    """A method with gradients runs one pass of its own, and a second one for `versus`."""
    passes = []
    prepared = prepare(checkpoint, photo_file)
    checkpoint.model.register_forward_pre_hook(lambda *_: passes.append(1))
    prepared.explain("relevance")
    assert len(passes) == 1
    for method in ("rollout", "attention", "random"):
        prepared.explain(method)
    assert len(passes) == 2
    prepared.explain("legrad", target=0, versus=1)
    assert len(passes) == 4


@pytest.mark.parametrize("method", METHODS)
def test_neither_prepared_photo_nor_analysis_keeps_a_graph(checkpoint, photo_file, method):
    def in_graphs():
        gc.collect()
        found = gc.get_objects()
        return sum(t.requires_grad for t in found if issubclass(type(t), torch.Tensor))

    prepared = prepare(checkpoint, photo_file)
    before = in_graphs()
    analysis = prepared.explain(method)
    assert in_graphs() == before
    assert not analysis.heatmap.requires_grad
    assert not analysis.logits.requires_grad
    kept = run_with_trace(checkpoint.model, prepared.prepared.pixels, gradients=True)
    assert in_graphs() > before, "this test must detect a graph that is kept"
    assert kept.logits.requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_a_caller_may_load_and_explain_in_inference_mode(our_checkpoint, photo_file, method):
    expected = explain(load(str(our_checkpoint)), photo_file, method)
    with torch.inference_mode():
        found = explain(load(str(our_checkpoint)), photo_file, method)
    torch.testing.assert_close(found.heatmap, expected.heatmap)


def test_concurrent_requests_give_the_same_results_as_sequential_ones(checkpoint, noise_photo):
    photos = [noise_photo(60, 40, seed=seed) for seed in range(4)]
    alone = [explain(checkpoint, photo).as_json(logits=True) for photo in photos]
    assert alone[0] != alone[1]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            together = list(pool.map(lambda photo: explain(checkpoint, photo), photos))
            assert [analysis.as_json(logits=True) for analysis in together] == alone


def test_the_bundled_checkpoint_works_without_a_network():
    from vit_demo.settings import ASSETS

    examples = ASSETS / "examples"
    checkpoint = load()
    assert set(checkpoint.labels) == {"daisy", "dandelion", "roses", "sunflowers", "tulips"}
    predicted = {
        name: explain(checkpoint, examples / name).predictions[0].label
        for name in ("honey-bee.jpg", "drawn-sunflower.png")
    }
    assert predicted == {"honey-bee.jpg": "daisy", "drawn-sunflower.png": "sunflowers"}


@pytest.mark.shared
def test_rollout_of_a_real_checkpoint_equals_rollout_of_transformers_attentions(shared):
    import transformers
    from PIL import Image

    folder = shared / "checkpoints" / "vit-small-patch14-flowers5"
    photo = next(iter(sorted((shared / "flower_photos" / "roses").glob("*.jpg"))))
    oracle = transformers.AutoModelForImageClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.no_grad():
        theirs = oracle(**processor(Image.open(photo), return_tensors="pt"), output_attentions=True)
    identity = torch.eye(theirs.attentions[0].shape[-1])
    product = identity
    for weights in theirs.attentions:
        product = (weights[0].mean(dim=0) + identity) / 2 @ product
    expected = product[0, 1:] / product[0, 1:].sum()

    ours = explain(load(str(folder)), photo)
    torch.testing.assert_close(ours.logits, theirs.logits[0], atol=1e-4, rtol=0)
    error = (ours.heatmap.flatten() - expected).abs().max()
    assert error <= 1e-5 * expected.max()


def test_faithfulness_is_measured_with_the_displayed_probabilities(our_checkpoint, photo_file):
    store_calibration(our_checkpoint, Calibration(2.0, None))
    prepared = prepare(load(str(our_checkpoint)), photo_file)
    analysis = prepared.explain("relevance", target="roses")
    found = prepared.scores_vs_random(analysis)
    shown = {p.label: p.probability for p in analysis.predictions}
    first, last = found.scores.deletion.probabilities[0], found.scores.insertion.probabilities[-1]
    assert float(first) == pytest.approx(shown["roses"], abs=1e-5)
    assert float(last) == pytest.approx(shown["roses"], abs=1e-5)
    versus = prepared.scores_vs_random(
        prepared.explain("relevance", target="roses", versus="tulips")
    )
    pair = shown["roses"] / (shown["roses"] + shown["tulips"])
    assert float(versus.scores.deletion.probabilities[0]) == pytest.approx(pair, abs=1e-5)
    # A map that is the same for every class is scored with the most likely one.
    rollout = prepared.scores_vs_random(prepared.explain("rollout"))
    best = float(rollout.scores.deletion.probabilities[0])
    assert best == pytest.approx(analysis.predictions[0].probability, abs=1e-5)


def test_randomizing_the_weights_changes_the_map_and_not_the_model(our_checkpoint, photo_file):
    prepared = prepare(load(str(our_checkpoint)), photo_file)
    steps = prepared.randomised(prepared.explain("relevance", target="roses"))
    assert [step.part for step in steps] == parts_of(prepared.checkpoint.model)
    assert steps[0].value < 0.99
    assert torch.equal(prepared.explain("rollout").logits, prepared.traced.logits[0])


def test_a_target_selects_a_class_specific_method(checkpoint, photo_file):
    """Rollout ignores the target, so it must not be reported as the explanation of one class."""
    assert explain(checkpoint, photo_file).method == "rollout"
    named = explain(checkpoint, photo_file, target="roses")
    assert (named.method, named.target.label) == ("relevance", "roses")
    compared = explain(checkpoint, photo_file, versus="tulips")
    assert (compared.method, compared.versus.label) == ("relevance", "tulips")
    for method in ("rollout", "attention", "random"):
        with pytest.raises(MethodError, match="every class, .* choose one of: relevance"):
            explain(checkpoint, photo_file, method, target="roses")


def test_the_repr_of_an_analysis_is_one_short_line(checkpoint, photo_file):
    words = repr(explain(checkpoint, photo_file, "relevance", "roses", versus="tulips"))
    assert len(words) < 300
    assert "relevance for roses compared with tulips, 4 × 4 patches" in words


def test_an_analysis_keeps_no_weights(our_checkpoint, photo_file):
    checkpoint = load(str(our_checkpoint))
    weights = weakref.ref(checkpoint.model)
    analysis = explain(checkpoint, photo_file)
    assert analysis.checkpoint == checkpoint.info
    whole = [able.as_json() for able in capabilities(checkpoint.model)]
    del checkpoint
    gc.collect()
    assert weights() is None
    assert [able.as_json() for able in capabilities(analysis.checkpoint.model)] == whole
