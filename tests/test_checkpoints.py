"""From a reference to a checkpoint that answers: a folder, either layout, or a loopback Hub."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import oracles
import pytest
import torch
from loopback_hub import LoopbackHub

from vit_demo import explain as explain_photo
from vit_demo.checkpoints import check_family, load, load_folder, read_folder, summarize
from vit_demo.checkpoints.families import readable
from vit_demo.errors import CheckpointError, StateDictMismatchError, UnsupportedError

ROOT = Path(__file__).parents[1]
CHECKPOINT_FILES = ("config.json", "model.safetensors", "preprocessor_config.json")


def test_a_folder_gives_a_model_at_rest(our_checkpoint, tiny_model):
    checkpoint = load(str(our_checkpoint))
    assert (checkpoint.ref, checkpoint.revision) == (str(our_checkpoint), None)
    assert checkpoint.layout == "transformers"
    assert not checkpoint.model.training
    assert not any(parameter.requires_grad for parameter in checkpoint.model.parameters())
    pixels = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(checkpoint.model(pixels), tiny_model(pixels))
    assert checkpoint.bytes == 4 * sum(parameter.numel() for parameter in tiny_model.parameters())


def test_a_folder_is_itself_also_under_a_bundled_name(our_checkpoint, tmp_path, monkeypatch):
    """By its name a person gets the bundled one, wherever they stand."""
    shutil.copytree(our_checkpoint, tmp_path / "here" / "flowers")
    monkeypatch.chdir(tmp_path / "here")
    assert load_folder(Path("flowers")).model.config.width == 24
    assert load("flowers").model.config.width > 24
    assert load("./flowers").model.config.width == 24


def test_a_backbone_without_a_head_names_no_flowers(their_checkpoint):
    with pytest.raises(UnsupportedError, match="backbone without a classification head"):
        load(str(their_checkpoint("dinov2")))


def test_weights_of_another_model_are_refused_name_by_name(our_checkpoint):
    config = json.loads((our_checkpoint / "config.json").read_text())
    config["hidden_size"] = 48
    (our_checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(StateDictMismatchError, match=r"~ .*the model wants .*, the file has "):
        load(str(our_checkpoint))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patch_size", "x"),
        ("patch_size", None),
        ("num_hidden_layers", "12"),
        ("num_hidden_layers", 100_000_000),
        ("image_size", "x"),
        ("layer_norm_eps", "x"),
        ("model_type", [1]),
        ("hidden_size", 1e999),
        ("num_attention_heads", 0),
    ],
)
def test_a_configuration_of_nonsense_is_refused(our_checkpoint, name, value):
    path = our_checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(CheckpointError, match=str(our_checkpoint)):
        load(str(our_checkpoint))


@pytest.mark.parametrize("bug", [TypeError, AttributeError, IndexError, ValueError])
def test_a_bug_of_ours_keeps_its_traceback(our_checkpoint, monkeypatch, bug):
    """It is nothing that a person could mend by saving the checkpoint again."""

    def broken(*_):
        raise bug("a bug")

    monkeypatch.setattr("vit_demo.checkpoints.families.vit.read_hf_config", broken)
    with pytest.raises(bug, match="^a bug$"):
        load(str(our_checkpoint))


def test_a_refused_value_is_named_with_its_file_and_the_next_step(our_checkpoint):
    path = our_checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_size": 2**70}))
    with pytest.raises(CheckpointError) as refused:
        load(str(our_checkpoint))
    assert str(refused.value) == (
        f"'{our_checkpoint}' has a configuration that cannot be used (config.json: hidden_size="
        f"{2**70}, but it must lie between 1 and 1000000); save it again, or choose another "
        "checkpoint."
    )


def test_a_folder_that_no_disk_can_hold_is_refused():
    with pytest.raises(CheckpointError, match=r"cannot be read \(.*\); name a folder that you may"):
        load_folder(Path("a" * 5000))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_mean", "x"),
        ("image_std", ["a", 1, 1]),
        ("rescale_factor", "x"),
        ("resample", 99),
        ("size", {"shortest_edge": 100_000}),
        ("size", {"height": 100_000, "width": 8}),
    ],
)
def test_preprocessing_of_nonsense_is_refused(our_checkpoint, name, value):
    path = our_checkpoint / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(CheckpointError, match=str(our_checkpoint)):
        load(str(our_checkpoint))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="has no config.json"):
        load(str(tmp_path))


@pytest.fixture
def hub(our_checkpoint):
    with LoopbackHub() as hub:
        files = {name: (our_checkpoint / name).read_bytes() for name in CHECKPOINT_FILES}
        hub.add("someone/flowers", files)
        yield hub


@pytest.fixture
def explain(hub, photo_file, tmp_path):
    """Run the command line against the loopback Hub, as a person would."""

    def run(ref, **environment):
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "vit_demo",
                "explain",
                photo_file,
                "--checkpoint",
                ref,
                "--json",
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "HF_ENDPOINT": hub.endpoint,
                "HF_HOME": str(tmp_path / "hub"),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_hub_id_answers_with_its_commit_and_then_without_a_network(explain, hub, our_checkpoint):
    first = explain("someone/flowers")
    assert first.returncode == 0, first.stderr
    content = json.loads(first.stdout)
    commit = hub.repos["someone/flowers"].commit
    assert content["checkpoint"]["ref"] == "someone/flowers"
    assert content["checkpoint"]["revision"] == commit

    requests = len(hub.log)
    offline = explain("someone/flowers", HF_HUB_OFFLINE="1")
    pinned = explain(f"someone/flowers@{commit}")
    assert len(hub.log) == requests
    for again in (offline, pinned):
        assert json.loads(again.stdout)["heatmap"] == content["heatmap"]


def test_what_the_hub_refuses_is_one_line_and_status_2(explain):
    refused = explain("nobody/nothing")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 1
    assert "no repository 'nobody/nothing'" in refused.stderr


@pytest.mark.parametrize(
    ("config_json", "family"),
    [
        ({"model_type": "vit"}, "vit"),
        ({"model_type": "deit"}, "deit"),
        ({"model_type": "dinov2"}, "dinov2"),
        ({"model_type": "dinov2_with_registers"}, "dinov2_with_registers"),
        ({"model_type": "swin"}, "swin"),
        ({"model_type": "mobilevit"}, "mobilevit"),
        ({"architecture": "vit_tiny_patch16_224"}, "vit"),
        ({"architecture": "deit_tiny_distilled_patch16_224"}, "vit"),
        ({"architecture": "deit3_small_patch16_224"}, "vit"),
        ({"architecture": "vit_small_patch14_reg4_dinov2"}, "vit"),
        ({"architecture": "swin_tiny_patch4_window7_224"}, "swin"),
        ({"architecture": "mobilevit_xxs"}, "mobilevit"),
    ],
)
def test_both_layouts_are_accepted(config_json, family):
    assert check_family(config_json, "it") == family


@pytest.mark.parametrize(
    "config_json",
    [
        {"model_type": "levit"},
        {"model_type": "siglip2"},
        {"model_type": "my_flowers"},
        {"architecture": "levit_128"},
        {"architecture": "convnext_tiny"},
        {},
    ],
    ids=str,
)
def test_others_are_refused_and_those_that_can_be_read_are_listed(config_json):
    with pytest.raises(UnsupportedError) as refusal:
        check_family(config_json, "it")
    message = str(refusal.value)
    assert message.endswith(f"what can be read: {readable()}.")
    assert next(iter(config_json.values()), "unknown") in message


def pickled(folder):
    """The same checkpoint, its weights in pytorch_model.bin alone."""
    from safetensors.torch import load_file

    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    return folder


def test_a_pickle_is_opened_only_when_allowed(our_checkpoint):
    whole = read_folder(our_checkpoint, "it").tensors
    folder = pickled(our_checkpoint)
    with pytest.raises(CheckpointError, match="whose author you trust, start with --allow-pickle"):
        read_folder(folder, "it")
    tensors = read_folder(folder, "it", allow_pickle=True).tensors
    assert tensors.keys() == whole.keys()
    assert all(torch.equal(tensors[name], whole[name]) for name in whole)
    assert load(str(folder), allow_pickle=True).layout == "transformers"


def test_a_damaged_pickle_is_one_sentence(our_checkpoint):
    folder = pickled(our_checkpoint)
    (folder / "pytorch_model.bin").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="is damaged, or holds more than tensors"):
        read_folder(folder, "it", allow_pickle=True)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"size": ' + "9" * 6000 + "}", "\ufeff{", "nan("])
def test_json_that_no_reader_survives_is_refused_in_words(our_checkpoint, name, text):
    (our_checkpoint / name).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"{name} cannot be read"):
        load(str(our_checkpoint))


@pytest.fixture
def timm_folder(tmp_path):
    """A tiny ViT as timm saves it: (folder, model)."""
    changes = {"embed_dim": 192, "num_heads": 3, "depth": 1, "patch_size": 8, "img_size": 32}
    model = oracles.timm().create_model("vit_tiny_patch16_224", num_classes=5, **changes)
    oracles.randomise(model)
    oracles.save_timm(model, tmp_path / "timm", num_heads=3, img_size=32)
    return tmp_path / "timm", model


def rewrite_config(folder, change):
    path = folder / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize("model_type", ["my_flowers", "vit"])
def test_a_timm_configuration_with_a_model_type_is_read_as_timms(timm_folder, model_type):
    folder, model = timm_folder
    rewrite_config(folder, lambda stated: stated | {"model_type": model_type})
    checkpoint = load(str(folder))
    assert checkpoint.layout == "timm"
    pixels = torch.randn(2, 3, 32, 32)
    ours = oracles.logits_of(checkpoint.model, pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(model, pixels))


def test_a_transformers_configuration_with_an_architecture_is_read_as_transformers(our_checkpoint):
    rewrite_config(our_checkpoint, lambda stated: stated | {"architecture": "vit_tiny_patch16_224"})
    assert load(str(our_checkpoint)).layout == "transformers"


@pytest.mark.parametrize("stated", [{}, {"model_type": "my_flowers"}])
def test_a_configuration_made_by_hand_leaves_the_tensors_to_speak(timm_folder, stated):
    folder, model = timm_folder
    names = dict(enumerate(("daisy", "dandelion", "roses", "sunflowers", "tulips")))
    colors = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
    rewrite_config(folder, lambda _: stated | colors | {"id2label": names, "num_classes": 5})
    checkpoint = load(str(folder))
    assert checkpoint.labels == tuple(names.values())
    assert checkpoint.preprocessing.mean == (0.4, 0.5, 0.6)
    assert checkpoint.preprocessing_source == "file"
    assert summarize(str(folder)) is None
    pixels = torch.randn(2, 3, 32, 32)
    ours = oracles.logits_of(checkpoint.model, pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(model, pixels))


def test_a_timm_model_saved_through_transformers_answers_as_transformers(tmp_path, photo_file):
    oracles.timm()
    transformers = oracles.transformers()
    stated = transformers.TimmWrapperConfig.from_dict(
        {
            "architecture": "vit_tiny_patch16_224",
            "label_names": ["daisy", "dandelion", "roses", "sunflowers", "tulips"],
            "num_classes": 5,
            "model_args": {"depth": 1},
            "pretrained_cfg": {
                "input_size": [3, 224, 224], "crop_pct": 0.9, "interpolation": "bicubic",
                "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4],
            },
        }
    )  # fmt: skip
    model = transformers.TimmWrapperForImageClassification(stated)
    oracles.randomise(model).save_pretrained(tmp_path)
    checkpoint = load(str(tmp_path))
    assert checkpoint.layout == "timm"
    assert checkpoint.labels[0] == "daisy"
    assert checkpoint.preprocessing.mean == (0.4, 0.5, 0.6)
    pixels = torch.randn(2, 3, 224, 224)
    ours = oracles.logits_of(checkpoint.model, pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(model, pixels))
    assert explain_photo(checkpoint, photo_file).as_json()["preprocessing_source"] == "file"
