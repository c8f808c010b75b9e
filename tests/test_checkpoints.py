"""Which layout a folder is, which families are accepted, and pickles only when allowed."""

import pytest
import torch

from vit_demo.checkpoints import check_family, load, read_folder
from vit_demo.errors import CheckpointError, UnsupportedError


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
        {"model_type": "beit"},
        {"model_type": "siglip"},
        {"model_type": "dinov3_vit"},
        {"architecture": "eva02_tiny_patch14_224"},
        {"architecture": "beit_base_patch16_224"},
        {"architecture": "vit_small_patch16_dinov3"},
        {},
    ],
    ids=str,
)
def test_others_are_refused_and_those_that_can_be_read_are_listed(config_json):
    with pytest.raises(UnsupportedError) as refusal:
        check_family(config_json, "it")
    message = str(refusal.value)
    assert message.endswith(
        "ViT, DeiT, DINOv2, Swin, MobileViT, in the transformers or timm layout."
    )
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
    with pytest.raises(CheckpointError, match="pickled weights .* are not opened unless allowed"):
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
