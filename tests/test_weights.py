"""Tensors without what training scripts put round them; in several files; and what is none."""

import json
from argparse import Namespace

import oracles
import pytest
import torch
from safetensors.torch import load_file, save_file

from vit_demo.checkpoints import load, read_folder
from vit_demo.checkpoints.files import CONFIG, WEIGHTS
from vit_demo.checkpoints.weights import unwrapped
from vit_demo.errors import CheckpointError, UnsupportedError

WRAPPINGS = ["module.", "_orig_mod.", "model.", "_orig_mod.module.", "module._orig_mod.model."]


@pytest.fixture(scope="module")
def vit():
    """A model as a training script holds it."""
    changes = {"embed_dim": 192, "num_heads": 3, "depth": 1, "patch_size": 8, "img_size": 32}
    return oracles.randomise(
        oracles.timm().create_model("vit_tiny_patch16_224", num_classes=5, **changes)
    )


def wrapped(state, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def assert_read(path, model):
    pixels = torch.randn(2, 3, 32, 32)
    checkpoint = load(str(path))
    ours = oracles.logits_of(checkpoint.model, pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(model, pixels))
    return checkpoint.notes


@pytest.mark.parametrize("prefix", WRAPPINGS)
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pth.tar", ".ckpt"])
def test_wrappers_are_taken_off_in_any_nesting(tmp_path, vit, prefix, suffix):
    content = {"state_dict": {"model": wrapped(vit.state_dict(), prefix)}, "epoch": 3}
    torch.save(content, tmp_path / f"best{suffix}")
    assert assert_read(tmp_path / f"best{suffix}", vit) == ()


def test_what_is_no_part_of_the_model_is_left_out_and_named(tmp_path, vit):
    state = wrapped(vit.state_dict(), "model.")
    extra = {"criterion.weight": torch.ones(5), "model.mask_token": torch.ones(1, 192)}
    torch.save({"state_dict": {**state, **extra}}, tmp_path / "a.pth")
    (note,) = assert_read(tmp_path / "a.pth", vit)
    assert note == "Left out, as no part of the classifier: criterion.weight, mask_token."


def other_values(state):
    return {name: tensor + 1 for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("plain", "mean"), [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("net", "ema")]
)
def test_of_weights_and_their_mean_the_mean_is_read_as_timm_does_and_said(
    tmp_path, vit, plain, mean
):
    """`args` is what timm's own script keeps beside them."""
    state = vit.state_dict()
    content = {plain: other_values(state), mean: wrapped(state, "module."), "args": Namespace(a=1)}
    torch.save(content, tmp_path / "a.pth")
    (note,) = assert_read(tmp_path / "a.pth", vit)
    assert f"('{plain}') and their running mean ('{mean}'); the mean is read" in note


def test_a_mean_in_the_same_dictionary_is_read_and_the_other_copy_not_named(tmp_path, vit):
    state = vit.state_dict()
    both = {**wrapped(other_values(state), "model."), **wrapped(state, "model_ema.module.")}
    torch.save(both | {"model_ema.n_averaged": torch.tensor(3)}, tmp_path / "a.pth")
    notes = assert_read(tmp_path / "a.pth", vit)
    assert notes[0].endswith("the mean ('model_ema.module.') is read, as timm does.")


def test_a_librarys_own_prefix_is_no_wrapper_where_the_head_stands_beside_it():
    """Encoder under `model.`, head beside it: taking off the one would lose the other."""
    names = ["model.embeddings.cls_token", "model.layer.0.norm1.weight", "classifier.weight"]
    tensors = {name: torch.ones(1) for name in names}
    assert dict(unwrapped(tensors).tensors) == tensors


def in_parts(folder, count=3):
    """Split a checkpoint's weights as transformers does when they are large."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = [f"model-{part + 1:05}-of-{count:05}.safetensors" for part in range(count)]
    weight_map = {name: names[place % count] for place, name in enumerate(tensors)}
    for part in names:
        own = {name: tensors[name] for name in tensors if weight_map[name] == part}
        save_file(own, folder / part)
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return names


def test_weights_in_parts_are_read(our_checkpoint, tiny_model):
    whole = load(str(our_checkpoint)).model
    names = in_parts(our_checkpoint)
    parts = load(str(our_checkpoint)).model
    for name, tensor in whole.state_dict().items():
        assert torch.equal(parts.state_dict()[name], tensor)
    (our_checkpoint / names[1]).unlink()
    with pytest.raises(CheckpointError, match=f"has no {names[1]}, which .*index.json names"):
        load(str(our_checkpoint))


@pytest.mark.parametrize("content", ["{}", '{"weight_map": [1]}', '{"weight_map": {}}'])
def test_an_index_that_names_nothing_is_refused(our_checkpoint, content):
    in_parts(our_checkpoint)
    (our_checkpoint / f"{WEIGHTS}.index.json").write_text(content)
    with pytest.raises(CheckpointError, match="has no weight_map that names files"):
        load(str(our_checkpoint))


@pytest.mark.parametrize("name", ["../a.safetensors", "/a.safetensors", "a.exe"])
def test_an_index_names_files_beside_it_alone(our_checkpoint, name):
    in_parts(our_checkpoint)
    index = json.dumps({"weight_map": {"a": name}})
    (our_checkpoint / f"{WEIGHTS}.index.json").write_text(index)
    with pytest.raises(CheckpointError, match="which is no file of weights beside it"):
        load(str(our_checkpoint))


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        (["best.pt"], CheckpointError, r"holds best.pt and no model.safetensors; .*best.pt$"),
        (["model_best.pth.tar"], CheckpointError, "name the file itself: .*model_best.pth.tar$"),
        (
            ["adapter_config.json", "adapter_model.safetensors"],
            UnsupportedError,
            "an adapter .adapter_config.json, adapter_model.safetensors., .*merge_and_unload",
        ),
        (["flowers.safetensors"], CheckpointError, "holds flowers.safetensors and no model.saf"),
    ],
)
@pytest.mark.parametrize("config", [True, False])
def test_other_files_get_a_sentence_with_the_way(our_checkpoint, names, kind, message, config):
    (our_checkpoint / WEIGHTS).unlink()
    if not config:
        (our_checkpoint / CONFIG).unlink()
    for name in names:
        (our_checkpoint / name).write_bytes(b"{}")
    with pytest.raises(kind, match=message):
        read_folder(our_checkpoint, "it")
