"""The stored calibration: read with care, written whole, harmless to the library that reads it."""

import json

import oracles
import pytest
import torch

from vit_demo import explain, load
from vit_demo.checkpoints import hf_format
from vit_demo.checkpoints.calibration import KEY, Calibration, read_calibration, store_calibration
from vit_demo.errors import CheckpointError, ConfigError, OutputError
from vit_demo.preprocess import Preprocessing


@pytest.fixture
def config_of():
    """The configuration of a folder, as it lies on the disk."""
    return lambda folder: json.loads((folder / "config.json").read_text(encoding="utf-8"))


def test_without_the_key_nothing_is_changed():
    assert read_calibration({}, "it") == Calibration(1.0, None)


def test_what_is_written_is_what_is_read(our_checkpoint, config_of):
    before = config_of(our_checkpoint)
    for calibration in (Calibration(1.31, 0.62), Calibration(0.5)):
        store_calibration(our_checkpoint, calibration)
        assert load(str(our_checkpoint)).calibration == calibration
    after = config_of(our_checkpoint)
    assert after.pop(KEY) == {"temperature": 0.5}
    assert after == before
    assert {path.name for path in our_checkpoint.iterdir()} == {
        "config.json", "model.safetensors", "preprocessor_config.json",
    }  # fmt: skip


def test_a_checkpoint_can_be_written_with_it(tmp_path, tiny_config, tiny_model):
    stated = Calibration(2.0, 0.25)
    weights, square = tiny_model.state_dict(), Preprocessing(resize=(32, 32))
    hf_format.write(tmp_path, tiny_config, weights, tuple("abcde"), square, torch.float32, stated)
    assert load(str(tmp_path)).calibration == stated


def test_whole_numbers_are_numbers_too():
    assert read_calibration({KEY: {"temperature": 2, "unsure_below": 1}}, "it") == Calibration(
        2.0, 1.0
    )
    assert read_calibration({KEY: {"unsure_below": 0.5}}, "it") == Calibration(1.0, 0.5)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ("1.3", "calibration is '1.3'"),
        ([1.3], "calibration is"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"temperature": True}, "temperature is True"),
        ({"temperature": 0}, "temperature=0.0, but it must be a finite number above 0"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"temperature": 10**400}, "temperature is 1000"),
        ({"temperature": 1e-320}, "temperature=1e-320, but it must lie between 1e-06 and 1e+06"),
        ({"unsure_below": 62}, "unsure_below=62.0, but a probability lies between 0 and 1"),
        ({"unsure_below": -0.1}, "unsure_below=-0.1"),
        ({"unsure_below": float("nan")}, "unsure_below=nan"),
    ],
)
def test_nonsense_in_a_file_is_refused_in_one_sentence(our_checkpoint, config_of, stated, words):
    content = config_of(our_checkpoint) | {KEY: stated}
    (our_checkpoint / "config.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError) as refused:
        load(str(our_checkpoint))
    message = str(refused.value)
    assert words in message
    assert "take the key out." in message
    assert "\n" not in message


@pytest.mark.parametrize("nonsense", [{"temperature": 0.0}, {"unsure_below": 1.5}])
def test_nonsense_in_code_is_refused(nonsense):
    with pytest.raises(ConfigError):
        Calibration(**nonsense)


def test_a_failed_writing_leaves_the_old_file(our_checkpoint, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    before = (our_checkpoint / "config.json").read_bytes()
    monkeypatch.setattr("vit_demo.checkpoints.files.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        store_calibration(our_checkpoint, Calibration(2.0))
    assert (our_checkpoint / "config.json").read_bytes() == before


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="has no config.json"):
        store_calibration(tmp_path, Calibration(2.0))


def test_the_library_loads_it_all_the_same_and_computes_the_same_logits(our_checkpoint):
    library = oracles.transformers()
    pixels = torch.randn(2, 3, 32, 32)

    def logits():
        model = library.AutoModelForImageClassification.from_pretrained(our_checkpoint).eval()
        return oracles.logits_of(model, pixels)

    before = logits()
    store_calibration(our_checkpoint, Calibration(3.0, 0.9))
    assert torch.equal(logits(), before)


def test_timms_layout_can_state_it_too(tmp_path):
    model = oracles.timm().create_model("vit_tiny_patch16_224", num_classes=3, depth=1)
    oracles.save_timm(model, tmp_path, depth=1)
    store_calibration(tmp_path, Calibration(1.5, 0.5))
    assert load(str(tmp_path)).calibration == Calibration(1.5, 0.5)


def test_probabilities_are_divided_and_logits_stay_raw(our_checkpoint, photo_file):
    raw = explain(load(str(our_checkpoint)), photo_file)
    store_calibration(our_checkpoint, Calibration(4.0))
    cooled = explain(load(str(our_checkpoint)), photo_file)
    assert torch.equal(cooled.logits, raw.logits)
    expected = (raw.logits.double() / 4).softmax(dim=-1)
    for prediction in cooled.predictions:
        assert prediction.probability == pytest.approx(float(expected[prediction.index]), abs=1e-6)
    assert [p.label for p in cooled.predictions] == [p.label for p in raw.predictions]


def test_unsure_is_below_the_threshold_and_only_there(our_checkpoint, photo_file):
    best = explain(load(str(our_checkpoint)), photo_file).predictions[0].probability
    answers = {}
    for threshold in (None, 0.0, best, min(best + 1e-6, 1.0), 1.0):
        store_calibration(our_checkpoint, Calibration(1.0, threshold))
        analysis = explain(load(str(our_checkpoint)), photo_file)
        assert analysis.as_json()["unsure"] is analysis.unsure
        answers[threshold] = analysis.unsure
    assert list(answers.values()) == [False, False, False, True, True]
