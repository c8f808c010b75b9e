"""What the files say must go together, and stored tensors go in completely or not at all."""

import pytest
import torch

from vit_demo.checkpoints.checkpoint import ParsedCheckpoint, load_state_dict_strict
from vit_demo.errors import CheckpointError, ConfigError, StateDictMismatchError
from vit_demo.models.mobilevit import preset as mobilevit
from vit_demo.models.swin import SwinConfig
from vit_demo.preprocess import Preprocessing


@pytest.fixture
def tensors(tiny_config, make_model):
    return dict(make_model(tiny_config, seed=7).state_dict())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_weights_that_are_no_numbers_are_listed_and_change_nothing(tiny_model, tensors, value):
    before = snapshot(tiny_model)
    for name in ("blocks.1.norm1.bias", "head.weight"):
        tensors[name].view(-1)[-1] = value
    with pytest.raises(CheckpointError, match=r"beyond 1e\+12: .*head.weight") as refused:
        load_state_dict_strict(tiny_model, tensors, "it")
    assert "blocks.1.norm1.bias" in str(refused.value)
    assert "norm2" not in str(refused.value)
    assert same(tiny_model.state_dict(), before)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e5m2])
def test_weights_that_are_not_stored_as_floats_are_refused(tiny_model, tensors, dtype):
    tensors["head.weight"] = tensors["head.weight"].to(dtype)
    with pytest.raises(CheckpointError, match=f"stores its weights as {dtype}, which is not read"):
        load_state_dict_strict(tiny_model, tensors, "it")


def test_weights_beyond_32_bits_are_refused(tiny_model, tensors):
    tensors["head.weight"] = torch.full_like(tensors["head.weight"], 1e300, dtype=torch.float64)
    with pytest.raises(CheckpointError, match="infinite, no numbers"):
        load_state_dict_strict(tiny_model, tensors, "it")


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_what_fits_is_loaded_whole(tiny_model, tensors):
    load_state_dict_strict(tiny_model, tensors, "it")
    assert same(tiny_model.state_dict(), tensors)
    assert all(parameter.requires_grad for parameter in tiny_model.parameters())


def test_half_precision_is_widened_and_not_changed(tiny_model, tensors):
    halves = {name: value.half() for name, value in tensors.items()}
    load_state_dict_strict(tiny_model, halves, "it")
    loaded = tiny_model.state_dict()
    assert all(value.dtype == torch.float32 for value in loaded.values())
    assert all(torch.equal(value.half(), halves[name]) for name, value in loaded.items())


def test_a_model_without_memory_gets_it_from_the_file(tiny_config, tensors):
    from vit_demo.models.vit import VisionTransformer

    with torch.device("meta"):
        model = VisionTransformer(tiny_config)
    load_state_dict_strict(model, tensors, "it")
    assert model(torch.zeros(1, 3, 32, 32)).isfinite().all()


def test_frozen_parameters_stay_frozen(tiny_model, tensors):
    tiny_model.freeze_backbone()
    load_state_dict_strict(tiny_model, tensors, "it")
    learning = {name for name, p in tiny_model.named_parameters() if p.requires_grad}
    assert learning == {"head.weight", "head.bias"}


def test_a_misfit_lists_each_tensor_and_leaves_the_model_unchanged(tiny_model, tensors):
    del tensors["cls_token"]
    tensors["norm.scale"] = torch.zeros(3)
    tensors["head.bias"] = torch.zeros(7)
    before = snapshot(tiny_model)
    with pytest.raises(StateDictMismatchError) as refusal:
        load_state_dict_strict(tiny_model, tensors, "tulip.safetensors")
    assert isinstance(refusal.value, CheckpointError)
    assert str(refusal.value).splitlines()[:4] == [
        "tulip.safetensors does not fit the model that its configuration describes:",
        "  - cls_token: in the model, not in the file",
        "  + norm.scale: in the file, not in the model",
        "  ~ head.bias: the model wants (5,), the file has (7,)",
    ]
    assert same(snapshot(tiny_model), before)


@pytest.mark.parametrize("kind", ["missing", "unexpected", "reshaped"])
def test_each_kind_of_misfit_alone_is_refused(tiny_model, tensors, kind):
    if kind == "missing":
        del tensors["norm.bias"]
    elif kind == "unexpected":
        tensors["pooler"] = torch.zeros(1)
    else:
        tensors["norm.bias"] = tensors["norm.bias"][None]
    before = snapshot(tiny_model)
    with pytest.raises(StateDictMismatchError) as refusal:
        load_state_dict_strict(tiny_model, tensors, "it")
    listed = {
        "missing": refusal.value.missing,
        "unexpected": refusal.value.unexpected,
        "reshaped": refusal.value.reshaped,
    }
    assert [name for name, found in listed.items() if found] == [kind]
    assert same(snapshot(tiny_model), before)


def stored(config, preprocessing):
    return ParsedCheckpoint("it", "transformers", config, {}, (), preprocessing)


@pytest.mark.parametrize(
    "preprocessing",
    [Preprocessing(7), Preprocessing((32, 7)), Preprocessing((32, 32), crop=(7, 32))],
)
def test_photos_smaller_than_a_patch_are_refused(tiny_config, preprocessing):
    with pytest.raises(ConfigError, match="brought to 7 pixels, but the model cuts patches of 8"):
        stored(tiny_config, preprocessing)


def test_photos_of_one_patch_or_of_any_size_are_not(tiny_config):
    for preprocessing in (Preprocessing(8), Preprocessing(None), Preprocessing(4, crop=(8, 9))):
        stored(tiny_config, preprocessing)
    for config in (SwinConfig(5), mobilevit("xxs")):
        stored(config, Preprocessing((1, 1)))
