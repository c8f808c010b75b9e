"""Every family of the transformers layout, with the library as the judge: photo to logits."""

from pathlib import Path
from typing import Any

import oracles
import pytest
import torch
from torch import nn

from vit_demo.checkpoints import read_folder
from vit_demo.checkpoints.checkpoint import build, load_state_dict_strict
from vit_demo.explanations.traced_pass import run_with_trace
from vit_demo.models.vit import VisionTransformer
from vit_demo.photo import read_photo
from vit_demo.trace import propagate_back

TINY = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "patch_size": 8,
    "image_size": 32,
    "layer_norm_eps": 0.1,
    "num_labels": 5,
}
DINO = {**TINY, "mlp_ratio": 2}
SWIN = {"embed_dim": 12, "depths": [1, 2], "num_heads": [2, 3], "window_size": 4, "image_size": 64}
MOBILE = {
    "hidden_sizes": [24, 32, 40],
    "neck_hidden_sizes": [8, 8, 12, 16, 24, 32, 64],
    "image_size": 64,
}

TOWER = {name: value for name, value in TINY.items() if name != "num_labels"}
BEIT = {**TINY, "use_relative_position_bias": True, "layer_scale_init_value": 0.5}
BEIT_TOKEN = {
    **TINY,
    "use_absolute_position_embeddings": True,
    "use_shared_relative_position_bias": True,
    "use_mean_pooling": False,
    "use_mask_token": True,
    "layer_scale_init_value": 0.0,
}

MOBILE_V2 = {
    "width_multiplier": 0.25,
    "image_size": 64,
    "n_attn_blocks": [1, 2, 1],
    "base_attn_unit_dims": [64, 96, 128],
    "layer_norm_eps": 0.1,
    "num_labels": 5,
}

# The library's class, its configuration, and the processor that its checkpoints come with.
FAMILIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "ViT": ("ViTForImageClassification", TINY, "ViT"),
    "DeiT": ("DeiTForImageClassification", TINY, "DeiT"),
    "DeiT with teacher": ("DeiTForImageClassificationWithTeacher", TINY, "DeiT"),
    "DINOv2": ("Dinov2ForImageClassification", DINO, "Bit"),
    "DINOv2, SwiGLU": ("Dinov2ForImageClassification", {**DINO, "use_swiglu_ffn": True}, "Bit"),
    "registers": ("Dinov2WithRegistersForImageClassification", DINO, "Bit"),
    "registers, SwiGLU": (
        "Dinov2WithRegistersForImageClassification",
        {**DINO, "use_swiglu_ffn": True, "num_register_tokens": 2},
        "Bit",
    ),
    "BEiT": ("BeitForImageClassification", BEIT, "Beit"),
    "BEiT, both biases": (
        "BeitForImageClassification",
        {**BEIT, "use_shared_relative_position_bias": True},
        "Beit",
    ),
    "BEiT, class token": ("BeitForImageClassification", BEIT_TOKEN, "Beit"),
    "BEiT, a rectangle": ("BeitForImageClassification", {**BEIT, "image_size": (24, 40)}, "Beit"),
    "Data2Vec": ("Data2VecVisionForImageClassification", BEIT, "Beit"),
    "Data2Vec, class token": ("Data2VecVisionForImageClassification", BEIT_TOKEN, "Beit"),
    "MSN": ("ViTMSNForImageClassification", TINY, "ViT"),
    "I-JEPA": ("IJepaForImageClassification", TINY, "ViT"),
    "I-JEPA, a rectangle": (
        "IJepaForImageClassification",
        {**TINY, "image_size": (24, 40), "qkv_bias": False},
        "ViT",
    ),
    "CLIP": ("CLIPForImageClassification", TOWER, "CLIP"),
    "MetaCLIP 2": (
        "MetaClip2ForImageClassification",
        {**TOWER, "hidden_act": "gelu", "patch_size": 4},
        "CLIP",
    ),
    "SigLIP": ("SiglipForImageClassification", TOWER, "Siglip"),
    "SigLIP, no pooling, no whole number of patches": (
        "SiglipForImageClassification",
        {**TOWER, "vision_use_head": False, "num_channels": 3, "image_size": 36},
        "Siglip",
    ),
    "Swin": ("SwinForImageClassification", {**SWIN, "num_labels": 5}, "ViT"),
    "Swin V2": ("Swinv2ForImageClassification", {**SWIN, "num_labels": 5}, "ViT"),
    "Swin V2, pretrained windows": (
        "Swinv2ForImageClassification",
        {**SWIN, "num_labels": 5, "window_size": 6, "pretrained_window_sizes": [3, 4]},
        "ViT",
    ),
    "Swin V2, small grids": (
        "Swinv2ForImageClassification",
        {**SWIN, "num_labels": 5, "window_size": 10, "image_size": 72, "qkv_bias": False},
        "ViT",
    ),
    "MobileViT V2": ("MobileViTV2ForImageClassification", MOBILE_V2, "MobileViT"),
    "MobileViT V2, wider, on odd maps": (
        "MobileViTV2ForImageClassification",
        {**MOBILE_V2, "width_multiplier": 0.4, "image_size": 72, "ffn_multiplier": 3},
        "MobileViT",
    ),
    "MobileViT V2, narrower residuals": (
        "MobileViTV2ForImageClassification",
        {**MOBILE_V2, "image_size": 96, "expand_ratio": 1.5, "hidden_act": "silu"},
        "MobileViT",
    ),
    "MobileViT": ("MobileViTForImageClassification", {**MOBILE, "num_labels": 5}, "MobileViT"),
}


def theirs(folder: Path, family: str) -> nn.Module:
    """A tiny model of theirs, whose every weight is noise, its files and its processor's."""
    library = oracles.transformers()
    name, options, processor = FAMILIES[family]
    kind = getattr(library, name)
    if processor in ("CLIP", "Siglip"):
        config = kind.config_class(vision_config=options, num_labels=TINY["num_labels"])
    else:
        config = kind.config_class(**options)
    model = oracles.randomise(kind(config))
    model.save_pretrained(folder)
    stated = options["image_size"]
    height, side = (stated, stated) if isinstance(stated, int) else stated
    exact, edge = {"height": height, "width": side}, {"shortest_edge": side + 8}
    sizes = {
        "ViT": {"size": exact},
        "Beit": {"size": exact, "do_reduce_labels": True},
        "Siglip": {"size": exact, "resample": 2},
        "CLIP": {"size": {"shortest_edge": side}, "crop_size": exact},
        "DeiT": {"size": {"height": side + 8, "width": side + 8}, "crop_size": exact},
        "Bit": {"size": edge, "crop_size": exact},
        "MobileViT": {"size": edge, "crop_size": exact},
    }[processor]
    getattr(library, f"{processor}ImageProcessorPil")(**sizes).save_pretrained(folder)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_from_photo_to_logits_as_the_library(tmp_path, noise_photo, family):
    theirs(tmp_path, family)
    library = oracles.transformers()
    processor = library.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    stored = read_folder(tmp_path, "tiny")
    checkpoint = build(stored, "tiny")
    oracle = getattr(library, FAMILIES[family][0]).from_pretrained(tmp_path).eval()
    for size in ((101, 67), (33, 250)):
        path = tmp_path / f"{size[0]}.png"
        noise_photo(*size).save(path)
        pixels = stored.preprocessing(read_photo(path)).pixels
        photo = library.image_utils.load_image(str(path))
        expected = processor(photo, return_tensors="pt").pixel_values
        assert torch.equal(pixels, expected.float())
        found = oracles.logits_of(checkpoint.model, pixels)
        oracles.assert_same_logits(found, oracles.logits_of(oracle, expected.float()))


@pytest.mark.parametrize(
    "family",
    [
        "DeiT",
        "DeiT with teacher",
        "DINOv2",
        "registers",
        "BEiT",
        "BEiT, a rectangle",
        "Data2Vec",
        "CLIP",
        "SigLIP",
        "MSN",
        "I-JEPA",
    ],
)
@pytest.mark.parametrize("size", [(48, 24), (16, 64), (96, 96)])
def test_positions_are_interpolated_as_the_library_does(tmp_path, family, size):
    model = theirs(tmp_path, family)
    checkpoint = build(read_folder(tmp_path, "tiny"), "tiny")
    pixels = torch.randn(2, 3, *size)
    flexible = family.startswith(("DINOv2", "registers", "BEiT", "Data2Vec"))
    options = {} if flexible else {"interpolate_pos_encoding": True}
    with torch.no_grad():
        expected = model(pixels, **options).logits
    oracles.assert_same_logits(oracles.logits_of(checkpoint.model, pixels), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_rollout_sums_to_one(tmp_path, family):
    theirs(tmp_path, family)
    checkpoint = build(read_folder(tmp_path, "tiny"), "tiny")
    traced = run_with_trace(checkpoint.model, torch.randn(2, 3, 64, 96))
    rollout = traced.on_grid(propagate_back(traced.trace.flows, traced.read_out))
    assert rollout.shape == (2, *traced.grid)
    assert (rollout >= 0).all()
    torch.testing.assert_close(rollout.sum(dim=(1, 2)), torch.ones(2))


@pytest.mark.parametrize(
    ("kind", "config", "family"),
    [
        ("ViTModel", "ViTConfig", "ViT"),
        ("DeiTModel", "DeiTConfig", "DeiT"),
        ("Dinov2Model", "Dinov2Config", "DINOv2"),
        ("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", "registers"),
    ],
)
def test_a_backbone_is_read_too_and_its_tokens_are_the_librarys(tmp_path, kind, config, family):
    """Poolers are there and are ignored; fine-tuning starts from such checkpoints."""
    library = oracles.transformers()
    model = oracles.randomise(
        getattr(library, kind)(getattr(library, config)(**FAMILIES[family][1]))
    )
    model.save_pretrained(tmp_path)
    stored = read_folder(tmp_path, "tiny")
    assert not stored.has_head
    ours = VisionTransformer(stored.config).eval()
    heads = {name: value for name, value in ours.state_dict().items() if name.startswith("head")}
    load_state_dict_strict(ours, {**stored.tensors, **heads}, "tiny")
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        tokens = ours.embed(pixels)
        for block in ours.blocks:
            tokens = block(tokens)
        expected = model(pixels).last_hidden_state
        torch.testing.assert_close(ours.norm(tokens), expected, rtol=1e-4, atol=1e-4)


SHARED = sorted((oracles.SHARED / "layouts").glob("hf-*"))


@pytest.mark.shared
@pytest.mark.parametrize("folder", SHARED, ids=lambda folder: folder.name)
def test_stored_layouts_answer_as_the_library_does(folder, photo_file):
    stored = read_folder(folder, folder.name)
    assert stored.has_head == (folder.name not in ("hf-dinov3", "hf-vit-base-pooler"))
    if not stored.has_head:
        return
    library = oracles.transformers()
    kind = library.AutoConfig.from_pretrained(folder).architectures[0]
    model = getattr(library, kind).from_pretrained(folder).eval()
    pixels = stored.preprocessing(read_photo(photo_file)).pixels
    found = oracles.logits_of(build(stored, folder.name).model, pixels)
    size = {"interpolate_pos_encoding": True} if folder.name == "hf-siglip" else {}
    with torch.inference_mode():
        expected = model(pixels, **size).logits
    assert (found - expected).abs().max() <= 1e-4 * max(1.0, expected.abs().max().item())
