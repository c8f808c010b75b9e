"""What a configuration says before any weights are read, wherever the checkpoint lies."""

import json

import pytest

from vit_demo.checkpoints import load, summarize
from vit_demo.errors import CheckpointError, NotFoundError, UnsupportedError
from vit_demo.models.mobilevit import MobileViT
from vit_demo.models.swin import Swin
from vit_demo.models.vit import VisionTransformer

COMMIT = "c" * 40
NO_WEIGHTS = b"these are no tensors"


@pytest.fixture
def folder(tmp_path):
    """A folder with this configuration, and weights that nobody could read."""

    def make(**config_json):
        (tmp_path / "config.json").write_text(json.dumps(config_json))
        (tmp_path / "model.safetensors").write_bytes(NO_WEIGHTS)
        return str(tmp_path)

    return make


@pytest.mark.parametrize(
    ("config_json", "family", "model", "classes"),
    [
        ({"model_type": "deit", "id2label": {"0": "a", "1": "b"}}, "DeiT", VisionTransformer, 2),
        ({"model_type": "swin", "num_labels": 7}, "Swin", Swin, 7),
        ({"model_type": "mobilevit"}, "MobileViT", MobileViT, None),
        ({"architecture": "mobilevit_xs", "num_classes": 10}, "MobileViT", MobileViT, 10),
        ({"architecture": "deit3_small_patch16_224"}, "ViT", VisionTransformer, None),
    ],
)
def test_both_layouts_tell_family_and_classes(folder, config_json, family, model, classes):
    summary = summarize(folder(**config_json))
    assert (summary.family, summary.model, summary.classes) == (family, model, classes)
    assert summary.place == "on this machine"


def test_the_bundled_one_is_what_is_then_loaded():
    summary, loaded = summarize("flowers"), load("flowers")
    assert summary.place == "bundled"
    assert summary.model is type(loaded.model)
    assert summary.classes == len(loaded.labels)


def test_a_cached_one_is_known_and_one_that_is_not_cached_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert summarize("ann/flowers") is None
    snapshot = tmp_path / "models--ann--flowers" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"model_type": "swin"}')
    (snapshot / "preprocessor_config.json").write_text("{}")
    assert summarize(f"ann/flowers@{COMMIT}") is None
    (snapshot / "pytorch_model.bin").write_bytes(NO_WEIGHTS)
    assert summarize(f"ann/flowers@{COMMIT}") is None
    assert summarize(f"ann/flowers@{COMMIT}", allow_pickle=True).place == "in the cache"
    (snapshot / "model.safetensors").write_bytes(NO_WEIGHTS)
    assert summarize(f"ann/flowers@{COMMIT}").model is Swin
    assert summarize("ann/flowers") is None


def test_a_tutorials_file_has_no_configuration(tmp_path):
    (tmp_path / "flowers.pth").write_bytes(NO_WEIGHTS)
    assert summarize(str(tmp_path / "flowers.pth")) is None
    assert summarize(str(tmp_path)) is None


def test_what_cannot_be_used_is_refused_as_loading_it_would_be(folder, tmp_path):
    with pytest.raises(UnsupportedError, match="bert"):
        summarize(folder(model_type="bert"))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="config.json"):
        summarize(str(tmp_path))
    with pytest.raises(NotFoundError, match="did you mean 'flowers'"):
        summarize("flowrs")
