"""The timm layout, with the timm library itself as the judge: from photo file to logits."""

import json
from pathlib import Path
from typing import Any

import coverage_of_timm
import oracles
import pytest
import torch
from PIL import Image
from torch import nn

from vit_demo.checkpoints import ParsedCheckpoint, read_folder
from vit_demo.checkpoints.checkpoint import Checkpoint, build
from vit_demo.checkpoints.families import readable
from vit_demo.checkpoints.timm_config import read_labels, read_preprocessing
from vit_demo.checkpoints.timm_format import check_family
from vit_demo.errors import CheckpointError, UnsupportedError
from vit_demo.explanations.traced_pass import run_with_trace
from vit_demo.photo import read_photo
from vit_demo.trace import Trace, propagate_back

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3, "patch_size": 8, "img_size": 32}
SMALL_SWIN = {"embed_dim": 12, "depths": (1, 2), "num_heads": (2, 3), "img_size": 64}

# One for every way in which timm's ViTs differ, and both other families.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": TINY,
    "vit_tiny_patch16_224, qk-norm and layer scale": {
        **TINY,
        "qk_norm": True,
        "init_values": 0.5,
    },
    "vit_base_patch16_224_miil": TINY,
    "vit_base_patch16_gap_224": TINY,
    "vit_medium_patch16_reg4_gap_256": TINY,
    "vit_base_patch32_clip_224": TINY,
    "vit_base_patch32_clip_quickgelu_224": TINY,
    "vit_base_patch32_siglip_gap_256": TINY,
    "vit_small_patch14_dinov2": TINY,
    "vit_small_patch14_reg4_dinov2": TINY,
    "vit_giant_patch14_reg4_dinov2": TINY,
    "vit_base_patch16_radio_v3": TINY,
    "vit_tiny_patch16_224, a norm before the blocks": {**TINY, "pre_norm": True},
    "vit_tiny_patch16_224, RMS norms": {**TINY, "norm_layer": "rmsnorm"},
    "vit_tiny_patch16_224, mean of the patches": {**TINY, "global_pool": "avg"},
    "vit_tiny_patch16_224, a rectangle": {**TINY, "img_size": (24, 40)},
    "vit_so150m_patch16_reg4_gap_256": TINY,
    "vit_base_patch16_siglip_224": TINY,
    "vit_base_patch32_siglip_256": TINY,
    "vit_so150m_patch16_reg4_map_256": TINY,
    "flexivit_small": TINY,
    "aimv2_large_patch14_224": TINY,
    "test_vit4": TINY,
    "eva_large_patch14_196": TINY,
    "deit_tiny_patch16_224": TINY,
    "deit_tiny_distilled_patch16_224": TINY,
    "deit3_small_patch16_224": TINY,
    "vit_base_patch16_rpn_224": TINY,
    "beit_base_patch16_224": TINY,
    "beitv2_base_patch16_224, both biases": {**TINY, "use_shared_rel_pos_bias": True},
    "beit_base_patch16_224, a rectangle with positions": {
        **TINY,
        "img_size": (24, 40),
        "use_abs_pos_emb": True,
        "use_fc_norm": False,
        "init_values": None,
    },
    "vit_relpos_base_patch16_cls_224": TINY,
    "vit_relpos_small_patch16_rpn_224": TINY,
    "vit_srelpos_small_patch16_224": {**TINY, "img_size": (24, 40), "rel_pos_dim": 16},
    "vit_relpos_medium_patch16_cls_224, a table": {**TINY, "rel_pos_type": "bias"},
    "swin_tiny_patch4_window7_224": SMALL_SWIN,
    "swinv2_tiny_window8_256": {**SMALL_SWIN, "window_size": 4},
    "swinv2_tiny_window16_256": {
        **SMALL_SWIN,
        "img_size": (48, 80),
        "window_size": (5, 3),
        "pretrained_window_sizes": (4, 3),
        "qkv_bias": False,
    },
    "mobilevit_xxs": {},
    "mobilevitv2_050": {},
    "eva02_tiny_patch14_224": TINY,
    "eva02_base_patch16_clip_224": {**TINY, "img_size": (24, 40)},
    "vit_small_patch16_rope_mixed_ape_224": {**TINY, "embed_dim": 32, "num_heads": 4},
    "vit_pe_core_tiny_patch16_384": {**TINY, "embed_dim": 64, "num_heads": 4},
    "vit_small_plus_patch16_dinov3": {**TINY, "embed_dim": 32, "num_heads": 4},
}


def theirs(folder: Path, name: str, **changes: Any) -> nn.Module:
    """A tiny model of theirs, whose every weight is noise, and its files."""
    arguments = {"num_classes": 5, **ARCHITECTURES.get(name, TINY), **changes}
    model = oracles.timm().create_model(name.partition(",")[0], **arguments)
    oracles.save_timm(oracles.randomise(model), folder)
    return model


def ours(folder: Path) -> tuple[ParsedCheckpoint, Checkpoint]:
    stored = read_folder(folder, "tiny")
    return stored, build(stored, "tiny")


def their_pixels(folder: Path, path: Path) -> torch.Tensor:
    """timm's own transform, from its own reading of the file."""
    data = oracles.timm().data
    content = json.loads((folder / "config.json").read_text())
    stated = content.get("pretrained_cfg", content)
    transform = data.create_transform(**data.resolve_data_config(pretrained_cfg=stated))
    return transform(Image.open(path).convert("RGB"))[None]


def rewrite(folder: Path, **changes: Any) -> dict[str, Any]:
    """Change entries of config.json; None removes one."""
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(kept))
    return kept


def assert_same_answer(folder: Path, model: nn.Module, path: Path) -> None:
    stored, checkpoint = ours(folder)
    pixels = stored.preprocessing(read_photo(path)).pixels
    expected = their_pixels(folder, path)
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-6)
    found = oracles.logits_of(checkpoint.model, pixels)
    oracles.assert_same_logits(found, oracles.logits_of(model, expected))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_from_photo_to_logits_as_timm(tmp_path, noise_photo, name):
    model = theirs(tmp_path, name)
    for size in ((101, 67), (33, 250)):
        path = tmp_path / f"{size[0]}.png"
        noise_photo(*size).save(path)
        assert_same_answer(tmp_path, model, path)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rollout_sums_to_one(tmp_path, name):
    theirs(tmp_path, name)
    _, checkpoint = ours(tmp_path)
    heatmap = run_with_trace(checkpoint.model, torch.randn(2, 3, 64, 96))
    trace, read_out = heatmap.trace, heatmap.read_out
    rollout = heatmap.on_grid(propagate_back(trace.flows, read_out))
    assert rollout.shape == (2, *heatmap.grid)
    assert (rollout >= 0).all()
    torch.testing.assert_close(rollout.sum(dim=(1, 2)), torch.ones(2))


# What no tensor and no name shows of these: windows, and that a mean is read without its norm.
STATED = ("swin", "mobile", "beit_base_patch16_224, a rectangle")


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if not name.startswith(STATED)])
def test_what_a_config_leaves_out_is_inferred(tmp_path, photo_file, name):
    """Old files have no arguments, and the entries of pretrained_cfg beside the architecture."""
    # Heads are not to be seen in any tensor: these have as many as the names promise.
    promised = {"vit_base_patch16_gap_224": 16, "aimv2_large_patch14_224": 8}
    heads = {"embed_dim": 128, "num_heads": promised.get(name, 2)}
    model = theirs(tmp_path, name, **heads)
    content = rewrite(tmp_path, model_args=None)
    rewrite(tmp_path, **content.pop("pretrained_cfg"), pretrained_cfg=None, global_pool=None)
    assert_same_answer(tmp_path, model, photo_file)


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_mode": "squash", "crop_pct": 1.0},
        {"crop_mode": "squash", "crop_pct": 0.8},
        {"interpolation": "bilinear", "crop_pct": 0.95},
        {"crop_pct": None, "interpolation": None, "mean": None, "std": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("img_size", [32, (24, 40)])
def test_photos_are_prepared_as_timm_does(tmp_path, noise_photo, changes, img_size):
    model = theirs(tmp_path, "vit_tiny_patch16_224", img_size=img_size)
    pretrained_cfg = json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]
    pretrained_cfg = {k: v for k, v in (pretrained_cfg | changes).items() if v is not None}
    rewrite(tmp_path, pretrained_cfg=pretrained_cfg)
    for size in ((101, 67), (67, 102), (31, 33)):
        path = tmp_path / "photo.png"
        noise_photo(*size).save(path)
        assert_same_answer(tmp_path, model, path)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit3_small_patch16_224"])
@pytest.mark.parametrize("size", [(32, 32), (48, 24), (16, 64), (96, 96)])
def test_positions_are_interpolated_as_timm_does(tmp_path, name, size):
    model = theirs(tmp_path, name, dynamic_img_size=True, reg_tokens=2)
    _, checkpoint = ours(tmp_path)
    pixels = torch.randn(2, 3, *size)
    found = oracles.logits_of(checkpoint.model, pixels)
    oracles.assert_same_logits(found, oracles.logits_of(model, pixels))


@pytest.mark.parametrize("norm", ["layernorm", "LayerNorm", "rms_norm"])
def test_a_norm_that_is_stated_has_another_eps_than_the_name(tmp_path, photo_file, norm):
    model = theirs(tmp_path, "vit_base_patch32_clip_224", norm_layer=norm)
    assert model.blocks[0].norm1.eps == 1e-6
    assert_same_answer(tmp_path, model, photo_file)


def test_pre_logits_written_out_by_hand(tmp_path):
    """timm has dropped the layer, so it is checked against linear and tanh."""
    from safetensors.torch import load_file, save_file

    model = theirs(tmp_path, "vit_tiny_patch16_224")
    path = tmp_path / "model.safetensors"
    weight, bias, head = torch.randn(16, 24), torch.randn(16), torch.randn(5, 16)
    extra = {"pre_logits.fc.weight": weight, "pre_logits.fc.bias": bias, "head.weight": head}
    save_file({**load_file(path), **extra}, path)
    stored, checkpoint = ours(tmp_path)
    assert stored.config.representation == 16
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features = torch.tanh(model.forward_features(pixels)[:, 0] @ weight.T + bias)
        expected = features @ head.T + model.head.bias
    oracles.assert_same_logits(oracles.logits_of(checkpoint.model, pixels), expected)


def test_a_backbone_is_read_for_fine_tuning(tmp_path):
    theirs(tmp_path, "vit_tiny_patch16_224", num_classes=0)
    stored = read_folder(tmp_path, "tiny")
    assert not stored.has_head
    with pytest.raises(UnsupportedError, match="backbone without a classification head"):
        build(stored, "tiny")


def test_labels_are_the_files_or_honest_numbers():
    descriptions = {"n01": "a daisy"}
    assert read_labels({}, 2, "it") == ("class_0", "class_1")
    assert read_labels({"label_names": ["a", "b"]}, 2, "it") == ("a", "b")
    assert read_labels({"label_names": {"1": "b"}}, 2, "it") == ("class_0", "b")
    stated = {"label_names": ["n01", "n02"], "label_descriptions": descriptions}
    assert read_labels(stated, 2, "it") == ("a daisy", "n02")
    with pytest.raises(CheckpointError, match="names class 2 but has 2 classes"):
        read_labels({"label_names": ["a", "b", "c"]}, 2, "it")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_base_resnet50_384", "stem"),
        ("swinv2_cr_tiny_224", "swinv2_cr"),
        ("cait_xxs24_224", "talking heads"),
        ("samvit_base_patch16", "depends on the photo"),
        ("resnet50", "resnet50"),
        ("", "unknown"),
    ],
)
def test_other_families_are_refused_and_those_that_are_read_listed(name, reason):
    with pytest.raises(UnsupportedError, match=reason) as refusal:
        check_family({"architecture": name}, "it")
    assert readable() in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test_vit3", "together with registers"),
        ("vit_small_patch16_18x2_224", "several attentions"),
        ("vit_dwee_patch16_reg1_gap_256", "differential"),
        ("vit_pwee_patch16_reg1_gap_256", "parallel scaling"),
    ],
)
def test_blocks_of_another_kind_are_refused_with_the_reason(tmp_path, name, reason):
    theirs(tmp_path, name, embed_dim=32, num_heads=4)
    with pytest.raises(UnsupportedError, match=reason):
        read_folder(tmp_path, "tiny")


def test_options_that_are_not_read_are_refused(tmp_path):
    theirs(tmp_path, "vit_tiny_patch16_224")
    arguments = json.loads((tmp_path / "config.json").read_text())["model_args"]
    for change, reason in ({"act_layer": "relu"}, "relu"), ({"global_pool": "max"}, "max"):
        rewrite(tmp_path, model_args=arguments | change)
        with pytest.raises(UnsupportedError, match=reason):
            read_folder(tmp_path, "tiny")
    for change in {"crop_mode": "border"}, {"interpolation": "random"}:
        with pytest.raises(UnsupportedError, match="prepares photos by"):
            read_preprocessing({"pretrained_cfg": change}, "it")


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("vit_tiny_patch16_224", {"dynamic_img_size": True, "dynamic_img_pad": True}, "_img_pad="),
        ("vit_tiny_patch16_224", {"embed_norm_layer": "layernorm"}, "embed_norm_layer=layernorm"),
        ("aimv2_large_patch14_224", {"norm_layer": "rmsnorm"}, "of another kind than its blocks"),
        ("vit_tiny_patch16_224", {"norm_layer": "layernormfp32"}, "norms of the kind 'layernorm"),
        ("vit_tiny_patch16_224", {"patch_size": (8, 4)}, "8 × 4 pixels; only square"),
        ("vit_tiny_patch16_224", {"global_pool": "avgmax"}, "pools its tokens by 'avgmax'"),
        ("vit_tiny_patch16_224", {"global_pool": ""}, "pools its tokens by ''"),
        ("vit_tiny_patch16_224", {"in_chans": 1}, "pixels of 1 channel; photos here have 3"),
        ("swin_tiny_patch4_window7_224", {"global_pool": "max"}, "pools its places by 'max'"),
        ("swin_tiny_patch4_window7_224", {"img_size": 50}, "50 × 50 pixels, no whole number of 4"),
        ("swin_tiny_patch4_window7_224", {"head_dim": 4}, "8 wide together for tokens of 12"),
        ("swin_tiny_patch4_window7_224", {"in_chans": 1}, "pixels of 1 channel"),
        ("swin_tiny_patch4_window7_224", {"always_partition": True}, "always shifts"),
        ("mobilevit_xxs", {"global_pool": "max"}, "pools its places by 'max'"),
        ("mobilevit_xxs", {"in_chans": 1}, "pixels of 1 channel"),
        ("mobilevit_xxs", {"output_stride": 16}, "output_stride=16"),
    ],
    ids=str,
)
def test_arguments_that_are_not_read_are_refused_by_name(tmp_path, name, changes, reason):
    """What timm made with them would answer otherwise; its model is built to show that it can."""
    arguments = {"num_classes": 5, **ARCHITECTURES[name], **changes}
    model = oracles.randomise(oracles.timm().create_model(name, **arguments))
    oracles.save_timm(model, tmp_path, **arguments)
    with pytest.raises(UnsupportedError, match=reason):
        read_folder(tmp_path, "tiny")


def test_a_width_without_its_heads_is_refused(tmp_path):
    """timm takes the heads of the name, whatever the width."""
    theirs(tmp_path, "vit_tiny_patch16_224", embed_dim=48, num_heads=3)
    arguments = json.loads((tmp_path / "config.json").read_text())["model_args"]
    del arguments["num_heads"]
    rewrite(tmp_path, model_args=arguments)
    with pytest.raises(UnsupportedError, match="embed_dim=48 and the heads of another width"):
        read_folder(tmp_path, "tiny")


def test_every_argument_that_is_known_is_one_of_timms():
    from inspect import signature

    from timm.models.beit import Beit
    from timm.models.byobnet import ByobNet
    from timm.models.eva import Eva
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.swin_transformer_v2 import SwinTransformerV2
    from timm.models.vision_transformer import VisionTransformer
    from timm.models.vision_transformer_relpos import VisionTransformerRelPos

    from vit_demo.checkpoints.families import of_model_type
    from vit_demo.checkpoints.timm_format import SHAPES

    classes = {
        "vit": [VisionTransformer],
        "beit": [Beit, VisionTransformerRelPos],
        "dinov3_vit": [Eva],
        "swin": [SwinTransformer],
        "swinv2": [SwinTransformerV2],
        "mobilevit": [ByobNet],
    }
    for family, of_timm in classes.items():
        taken = {name for kind in of_timm for name in signature(kind).parameters}
        assert {*SHAPES, *of_model_type(family, "it").timm_arguments} <= taken


def test_tensors_that_are_no_vit_are_refused(tmp_path):
    from safetensors.torch import save_file

    theirs(tmp_path, "vit_tiny_patch16_224")
    save_file({"head.weight": torch.zeros(5, 24)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="has no 'patch_embed.proj.weight'; it is no ViT"):
        read_folder(tmp_path, "tiny")


SHARED = sorted((oracles.SHARED / "layouts").glob("timm-*"))


@pytest.mark.shared
@pytest.mark.parametrize("folder", SHARED, ids=lambda folder: folder.name)
def test_stored_layouts_answer_as_timm(folder, photo_file):
    from safetensors.torch import load_file

    config_json = json.loads((folder / "config.json").read_text())
    arguments = config_json["model_args"]
    model = oracles.timm().create_model(config_json["architecture"], **arguments).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    stored, checkpoint = ours(folder)
    pixels = stored.preprocessing(read_photo(photo_file)).pixels
    trace = Trace()
    with torch.no_grad():
        found, expected = checkpoint.model(pixels, trace), model(pixels)
    assert (found - expected).abs().max() <= 1e-4 * max(1.0, expected.abs().max().item())
    assert propagate_back(trace.flows, torch.ones(1, 1, 1)).sum() > 0


@pytest.mark.slow
def test_nine_in_ten_of_timms_names_load_and_match():
    found = list(coverage_of_timm.outcomes())
    assert sum(outcome.matches for outcome in found) >= coverage_of_timm.WANTED * len(found)
    assert all(outcome.matches or outcome.refusal for outcome in found)
