"""Swin: the libraries' own numbers, and flows whose support is the Jacobian's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import hostile
import oracles
import pytest
import torch

from vit_demo.checkpoints import hf_format
from vit_demo.checkpoints.checkpoint import load_state_dict_strict
from vit_demo.checkpoints.families import swin as family
from vit_demo.checkpoints.files import load_tensors, read_json
from vit_demo.errors import CheckpointError, ConfigError, UnsupportedError
from vit_demo.models.swin import Swin, SwinConfig

TINY = {"embed_dim": 16, "depths": (2, 2, 2), "num_heads": (2, 4, 8)}


def read_transformers(folder: Path) -> Swin:
    stored = hf_format.read(folder, "tiny")
    model = stored.config.build()
    load_state_dict_strict(model, stored.tensors, "tiny")
    return model.eval()


def read_timm(folder: Path) -> Swin:
    tensors = family.from_timm_names(load_tensors(folder / "model.safetensors", "tiny"))
    config = family.read_timm_config(read_json(folder / "config.json", "tiny"), tensors, "tiny")
    model = Swin(config)
    load_state_dict_strict(model, tensors, "tiny")
    return model.eval()


def their_transformers(folder: Path, **changes: Any) -> torch.nn.Module:
    library = oracles.transformers()
    config = library.SwinConfig(**{**TINY, "image_size": 64, "window_size": 4, **changes})
    config.num_labels = 5
    model = oracles.randomise(library.SwinForImageClassification(config))
    model.save_pretrained(folder)
    return model


def their_timm(folder: Path, **changes: Any) -> torch.nn.Module:
    arguments = {**TINY, "img_size": (64, 64), "window_size": 4, "num_classes": 5, **changes}
    model = oracles.timm().create_model("swin_tiny_patch4_window7_224", **arguments)
    oracles.randomise(model)
    del arguments["num_classes"]
    oracles.save_timm(model, folder, **arguments)
    return model


SIZES = [(64, 64), (68, 68), (100, 60), (84, 132), (75, 91)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", [4, 3])
def test_logits_are_those_of_transformers(tmp_path, size, window):
    # A fresh oracle for every size: one pass at another changes its later logits.
    theirs = their_transformers(tmp_path, window_size=window)
    pixels = oracles.photos(2, 3, *size)
    ours = oracles.logits_of(read_transformers(tmp_path), pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(theirs, pixels))


@pytest.mark.parametrize("size", [(64, 64), (68, 68), (100, 60), (84, 132), (8, 40)])
@pytest.mark.parametrize("window", [4, (3, 5)])
def test_logits_are_those_of_timm(tmp_path, size, window):
    theirs = their_timm(tmp_path, img_size=size, window_size=window)
    pixels = oracles.photos(2, 3, *size)
    ours = oracles.logits_of(read_timm(tmp_path), pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(theirs, pixels))


@pytest.mark.parametrize("size", [(68, 68), (100, 60), (24, 132)])
def test_logits_are_those_of_timm_at_other_sizes_than_its_own(tmp_path, size):
    theirs = their_timm(tmp_path, strict_img_size=False)
    pixels = oracles.photos(2, 3, *size)
    ours = oracles.logits_of(read_timm(tmp_path), pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(theirs, pixels))


def test_windows_by_stage_are_read_where_timm_states_them(tmp_path):
    theirs = their_timm(tmp_path, window_size=((3, 5), (4, 2), (2, 2)))
    pixels = oracles.photos(1, 3, 64, 64)
    ours = oracles.logits_of(read_timm(tmp_path), pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(theirs, pixels))


def test_windows_are_inferred_from_the_tables_where_nothing_states_them(tmp_path):
    theirs = their_timm(tmp_path, window_size=((4, 4), (8, 8), (3, 3)), qkv_bias=False)
    path = tmp_path / "config.json"
    config_json = json.loads(path.read_text())
    del config_json["model_args"]
    path.write_text(json.dumps(config_json))
    model = read_timm(tmp_path)
    assert model.config.windows == ((4, 4), (8, 8), (3, 3))
    pixels = oracles.photos(1, 3, 64, 64)
    oracles.assert_same_logits(oracles.logits_of(model, pixels), oracles.logits_of(theirs, pixels))


def test_timms_old_names_are_read(tmp_path):
    their_timm(tmp_path)
    today = family.from_timm_names(load_tensors(tmp_path / "model.safetensors", "tiny"))
    old = {
        name.replace("layers.1.down", "layers.0.down")
        .replace("layers.2.down", "layers.1.down")
        .replace("head.fc", "head"): tensor
        for name, tensor in today.items()
    }
    old["layers.0.blocks.1.attn_mask"] = torch.zeros(1)
    old["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(1)
    renamed = family.from_timm_names(old)
    assert renamed.keys() == today.keys()
    assert all(torch.equal(renamed[name], today[name]) for name in today)


def test_what_is_computed_or_belongs_to_pre_training_is_left_out():
    attention = "swin.encoder.layers.0.blocks.0.attention.self"
    extra = [f"{attention}.relative_position_index", "swin.embeddings.mask_token"]
    assert family.from_hf_names({name: torch.zeros(1) for name in extra}) == {}


def test_options_are_read_from_the_configuration(tmp_path):
    changes = {"qkv_bias": False, "mlp_ratio": 1.5, "layer_norm_eps": 1e-2}
    theirs = their_transformers(tmp_path, **changes, hidden_act="gelu_pytorch_tanh", patch_size=3)
    pixels = oracles.photos(1, 3, 40, 50)
    ours = oracles.logits_of(read_transformers(tmp_path), pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(theirs, pixels))


def test_a_grid_smaller_than_the_window_uses_the_offsets_it_has():
    """transformers 5.23 fails here; a smaller window with the middle of the table is the same."""
    large = SwinConfig(3, width=8, depths=(2,), heads=(2,), windows=((4, 4),), patch_size=2)
    small = replace(large, windows=((3, 3),))
    model = oracles.randomise(Swin(large))
    tensors = dict(model.state_dict())
    for name, tensor in tensors.items():
        if name.endswith("bias_table"):
            tensors[name] = tensor.reshape(7, 7, 2)[1:6, 1:6].reshape(25, 2)
    twin = Swin(small).eval()
    load_state_dict_strict(twin, tensors, "twin")
    pixels = oracles.photos(2, 3, 6, 10)
    oracles.assert_same_logits(oracles.logits_of(model, pixels), oracles.logits_of(twin, pixels))


def test_swin_t_has_the_published_parameters_and_timms_names():
    theirs = oracles.timm().create_model("swin_tiny_patch4_window7_224", num_classes=1000)
    model = Swin(SwinConfig(1000))
    assert sum(parameter.numel() for parameter in model.parameters()) == 28_288_354
    assert {name: value.shape for name, value in model.named_parameters()} == {
        name: value.shape for name, value in theirs.named_parameters()
    }


@pytest.mark.shared
@pytest.mark.parametrize("layout", ["hf-swin", "timm-swin"])
def test_stored_layouts_load(layout):
    folder = oracles.SHARED / "layouts" / layout
    if not folder.is_dir():
        pytest.skip("there are no stored layouts beside the repository")
    model = read_transformers(folder) if layout.startswith("hf") else read_timm(folder)
    assert oracles.logits_of(model, torch.randn(1, 3, 32, 32)).shape == (1, 5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_act": "relu"}, "relu"),
        ({"use_absolute_embeddings": True}, "absolute"),
    ],
)
def test_what_is_not_read_is_refused(tmp_path, changes, words):
    their_transformers(tmp_path, **changes)
    with pytest.raises(UnsupportedError, match=words):
        hf_format.read(tmp_path, "odd")


def test_patches_that_are_not_square_are_refused():
    with pytest.raises(UnsupportedError, match="square"):
        family.read_hf_config({"patch_size": [4, 2]}, 5, "odd")


def test_timm_checkpoints_that_are_not_read_are_refused():
    with pytest.raises(UnsupportedError, match="always_partition"):
        family.read_timm_config({"model_args": {"always_partition": True}}, {}, "odd")
    with pytest.raises(CheckpointError, match="no Swin"):
        family.read_timm_config({}, {}, "odd")


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": 0},
        {"depths": ()},
        {"depths": (2, 2)},
        {"windows": ((7, 7), (7, 7), (7, 7), (0, 0))},
        {"windows": ((7, 5),) * 4},
        {"heads": (3, 6, 12, 25)},
        {"drop_path": 1.0},
        {"width": 2**70},
        {"patch_size": True},
        {"mlp_ratio": float("nan")},
        {"mlp_ratio": 1e-3},
        {"mlp_ratio": "x"},
        {"layer_norm_eps": "x"},
        {"layer_norm_eps": -1.0},
        {"qkv_bias": 1},
        {"depths": (2, 2, 1.5, 2)},
        {"depths": (2, 2, 10**400, 2)},
        {"depths": (2, 2, 997, 2)},
        {"heads": (3, 6, 12, 2**70)},
        {"windows": ((7, 7), (7, 7), (7, 7), (2**70, 2**70))},
        {"image_size": (224, 2**70)},
    ],
)
def test_contradictions_are_refused(changes):
    with pytest.raises(ConfigError):
        hostile.remade(SwinConfig(5), **changes)


def test_in_training_branches_are_dropped_and_in_use_they_are_not():
    model = oracles.randomise(Swin(replace(SwinConfig(3), width=6, drop_path=0.5)))
    torch.manual_seed(0)
    pixels = torch.randn(1, 3, 64, 64)
    assert torch.equal(model(pixels), model(pixels))
    assert not torch.equal(model.train()(pixels), model(pixels))
