"""The whole way: from a photo file to names, a map and the place of that map on the photo."""

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
    "exact", "options", "box", "unsure",
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


def test_logits_that_are_no_numbers_are_never_shown(checkpoint, photo_file):
    """Weights that were all finite can still overflow on the way."""
    broken = load(checkpoint.ref)
    with torch.no_grad():
        broken.model.head.weight.mul_(3e38)
    for method in ("rollout", "relevance"):
        with pytest.raises(CheckpointError, match="answers with infinite values or none at all"):
            explain(broken, photo_file, method)


def test_a_map_that_is_no_numbers_is_never_shown(checkpoint, photo_file):
    """Its gradients overflow where the logits do not."""
    broken = load(checkpoint.ref)
    with torch.no_grad():
        for block in broken.model.blocks:
            block.attn.qkv.weight.mul_(1e18)
    assert explain(broken, photo_file, "rollout").logits.isfinite().all()
    with pytest.raises(CheckpointError, match="The map that 'relevance' makes of .* infinite"):
        explain(broken, photo_file, "relevance")


def test_an_array_is_analysed_like_its_photo(checkpoint, noise_photo):
    photo = noise_photo(50, 40)
    by_array = explain(checkpoint, np.asarray(photo))
    assert torch.equal(by_array.logits, explain(checkpoint, photo).logits)


def test_the_json_keeps_the_contract(checkpoint, photo_file):
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


def test_logits_come_only_on_request_and_fewer_classes_than_asked_are_all(checkpoint, photo_file):
    content = explain(checkpoint, photo_file).as_json(top=50, logits=True)
    assert len(content["predictions"]) == len(content["logits"]) == 5


@pytest.mark.parametrize("target", ["roses", "2", 2])
def test_a_class_is_asked_for_by_label_or_index(checkpoint, photo_file, target):
    asked = explain(checkpoint, photo_file, target=target).as_json()["target"]
    assert asked == {"index": 2, "label": "roses"}


@pytest.mark.parametrize(
    ("target", "words"),
    [("rose", "did you mean 'roses'"), ("9", "classes are 0 to 4"), (-1, "classes are 0 to 4")],
)
def test_an_unknown_class_is_refused(checkpoint, photo_file, target, words):
    with pytest.raises(TargetError, match=words):
        explain(checkpoint, photo_file, target=target)


def test_what_cannot_be_is_refused(checkpoint, photo_file, tmp_path):
    with pytest.raises(MethodError, match="no method 'rolout'"):
        explain(checkpoint, photo_file, "rolout")
    with pytest.raises(OptionError, match="no option 'layers'"):
        explain(checkpoint, photo_file, "attention", options={"layers": 1})
    with pytest.raises(PhotoError, match="no photo at"):
        explain(checkpoint, tmp_path / "none.jpg")


CLASS_SPECIFIC = [name for name, method in METHODS.items() if method.class_specific]


@pytest.mark.parametrize("method", CLASS_SPECIFIC)
def test_the_likeliest_class_is_explained_unless_another_is_asked_for(
    checkpoint, photo_file, method
):
    seen = prepare(checkpoint, photo_file)
    top_predictions = seen.explain(method)
    assert top_predictions.target == top_predictions.predictions[0]
    other = seen.explain(method, target=top_predictions.predictions[1].label)
    assert other.target == top_predictions.predictions[1]
    assert (
        top_predictions.heatmap - other.heatmap
    ).abs().max() > 1e-3 * top_predictions.heatmap.abs().max()


@pytest.mark.parametrize("method", CLASS_SPECIFIC)
def test_why_one_class_and_not_another_is_the_difference_of_their_maps(
    checkpoint, photo_file, method
):
    seen = prepare(checkpoint, photo_file)
    one, other = (seen.explain(method, target) for target in ("roses", "tulips"))
    versus = seen.explain(method, "roses", versus="4")
    torch.testing.assert_close(versus.heatmap, one.heatmap - other.heatmap)
    back = seen.explain(method, "tulips", versus=2)
    torch.testing.assert_close(back.heatmap, -versus.heatmap)
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
def test_what_cannot_be_set_against_another_is_refused(
    checkpoint, photo_file, method, target, versus, error, words
):
    with pytest.raises(error, match=words):
        explain(checkpoint, photo_file, method, target, versus=versus)


def test_one_pass_serves_all_methods_but_those_that_need_gradients(checkpoint, photo_file):
    """These make one of their own each, and one more to set a class against another."""
    passes = []
    seen = prepare(checkpoint, photo_file)
    checkpoint.model.register_forward_pre_hook(lambda *_: passes.append(1))
    seen.explain("relevance")
    assert len(passes) == 1
    for method in ("rollout", "attention", "random"):
        seen.explain(method)
    assert len(passes) == 2
    seen.explain("legrad", target=0, versus=1)
    assert len(passes) == 4


@pytest.mark.parametrize("method", METHODS)
def test_neither_look_nor_analysis_keeps_a_graph(checkpoint, photo_file, method):

    def in_graphs():
        gc.collect()
        found = gc.get_objects()
        return sum(t.requires_grad for t in found if issubclass(type(t), torch.Tensor))

    seen = prepare(checkpoint, photo_file)
    before = in_graphs()
    analysis = seen.explain(method)
    assert in_graphs() == before
    assert not analysis.heatmap.requires_grad
    assert not analysis.logits.requires_grad
    kept = run_with_trace(checkpoint.model, seen.prepared.pixels, gradients=True)
    assert in_graphs() > before, "a graph that is kept would be seen"
    assert kept.logits.requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_a_caller_may_load_and_explain_in_inference_mode(our_checkpoint, photo_file, method):
    expected = explain(load(str(our_checkpoint)), photo_file, method)
    with torch.inference_mode():
        found = explain(load(str(our_checkpoint)), photo_file, method)
    torch.testing.assert_close(found.heatmap, expected.heatmap)


def test_two_at_once_get_what_each_gets_alone(checkpoint, noise_photo):
    photos = [noise_photo(60, 40, seed=seed) for seed in range(4)]
    alone = [explain(checkpoint, photo).as_json(logits=True) for photo in photos]
    assert alone[0] != alone[1]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            together = list(pool.map(lambda photo: explain(checkpoint, photo), photos))
            assert [analysis.as_json(logits=True) for analysis in together] == alone


def test_the_bundled_checkpoint_works_with_no_network():
    from vit_demo.settings import ASSETS

    examples = ASSETS / "examples"
    checkpoint = load()
    assert set(checkpoint.labels) == {"daisy", "dandelion", "roses", "sunflowers", "tulips"}
    named = {
        name: explain(checkpoint, examples / name).predictions[0].label
        for name in ("honey-bee.jpg", "drawn-sunflower.png")
    }
    assert named == {"honey-bee.jpg": "daisy", "drawn-sunflower.png": "sunflowers"}


@pytest.mark.shared
def test_a_real_checkpoints_rollout_is_that_of_transformers_own_attentions(shared):
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


def test_a_map_is_put_to_the_test_with_the_probabilities_that_are_shown(our_checkpoint, photo_file):
    store_calibration(our_checkpoint, Calibration(2.0, None))
    seen = prepare(load(str(our_checkpoint)), photo_file)
    analysis = seen.explain("relevance", target="roses")
    found = seen.scores_vs_random(analysis)
    shown = {p.label: p.probability for p in analysis.predictions}
    first, last = found.scores.deletion.probabilities[0], found.scores.insertion.probabilities[-1]
    assert float(first) == pytest.approx(shown["roses"], abs=1e-5)
    assert float(last) == pytest.approx(shown["roses"], abs=1e-5)
    against = seen.scores_vs_random(seen.explain("relevance", target="roses", versus="tulips"))
    pair = shown["roses"] / (shown["roses"] + shown["tulips"])
    assert float(against.scores.deletion.probabilities[0]) == pytest.approx(pair, abs=1e-5)
    # A map that is the same for every class is judged by the likeliest one.
    best = float(seen.scores_vs_random(seen.explain("rollout")).scores.deletion.probabilities[0])
    assert best == pytest.approx(analysis.predictions[0].probability, abs=1e-5)


def test_a_map_is_asked_again_while_the_model_forgets(our_checkpoint, photo_file):
    seen = prepare(load(str(our_checkpoint)), photo_file)
    steps = seen.randomised(seen.explain("relevance", target="roses"))
    assert [step.part for step in steps] == parts_of(seen.checkpoint.model)
    assert steps[0].value < 0.99
    assert torch.equal(seen.explain("rollout").logits, seen.traced.logits[0])


def test_a_named_class_asks_for_a_class_specific_method(checkpoint, photo_file):
    """`target` was ignored by rollout: the JSON said method rollout, target roses."""
    assert explain(checkpoint, photo_file).method == "rollout"
    named = explain(checkpoint, photo_file, target="roses")
    assert (named.method, named.target.label) == ("relevance", "roses")
    compared = explain(checkpoint, photo_file, versus="tulips")
    assert (compared.method, compared.versus.label) == ("relevance", "tulips")
    for method in ("rollout", "attention", "random"):
        with pytest.raises(MethodError, match="explains no class .* choose one of: relevance"):
            explain(checkpoint, photo_file, method, target="roses")


def test_an_analysis_is_one_short_line(checkpoint, photo_file):
    words = repr(explain(checkpoint, photo_file, "relevance", "roses", versus="tulips"))
    assert len(words) < 300
    assert "relevance for roses compared with tulips, 4 × 4 patches" in words


def test_an_analysis_holds_no_weights(our_checkpoint, photo_file):
    checkpoint = load(str(our_checkpoint))
    weights = weakref.ref(checkpoint.model)
    analysis = explain(checkpoint, photo_file)
    assert analysis.checkpoint == checkpoint.info
    whole = [able.as_json() for able in capabilities(checkpoint.model)]
    del checkpoint
    gc.collect()
    assert weights() is None
    assert [able.as_json() for able in capabilities(analysis.checkpoint.model)] == whole
