"""MobileViT: the libraries' own numbers, and flows that are what they say."""

from pathlib import Path
from typing import Any

import hostile
import oracles
import pytest
import torch
from einops import rearrange
from PIL import Image
from torch import nn

from vit_demo.checkpoints import hf_format
from vit_demo.checkpoints.checkpoint import load_state_dict_strict
from vit_demo.checkpoints.families import mobilevit as family
from vit_demo.checkpoints.files import load_tensors, read_json
from vit_demo.checkpoints.processor import preprocessing_json, read_preprocessing
from vit_demo.errors import CheckpointError, ConfigError, UnsupportedError
from vit_demo.models.mobilevit import PRESETS, MobileViT, MobileViTConfig, preset
from vit_demo.preprocess import Preprocessing
from vit_demo.trace import LinearMixing, Trace, mean_heads, propagate_back

TINY = {
    "hidden_sizes": [24, 32, 40],
    "neck_hidden_sizes": [8, 8, 12, 16, 24, 32, 64],
    "expand_ratio": 2.0,
    "image_size": 64,
}
TINY_CONFIG = MobileViTConfig(
    classes=5,
    stem=8,
    channels_of_stages=(8, 12, 16, 24, 32),
    widths=(24, 32, 40),
    features=64,
    expansion=2.0,
    image_size=(64, 64),
)


def read_transformers(folder: Path) -> nn.Module:
    stored = hf_format.read(folder, "tiny")
    model = stored.config.build()
    load_state_dict_strict(model, stored.tensors, "tiny")
    return model.eval()


def read_timm(folder: Path) -> MobileViT:
    tensors = family.from_timm_names(load_tensors(folder / "model.safetensors", "tiny"))
    config = family.read_timm_config(read_json(folder / "config.json", "tiny"), tensors, "tiny")
    model = MobileViT(config)
    load_state_dict_strict(model, tensors, "tiny")
    return model.eval()


def their_transformers(folder: Path, **changes: Any) -> nn.Module:
    library = oracles.transformers()
    config = library.MobileViTConfig(**{**TINY, **changes})
    config.num_labels = 5
    model = oracles.randomise(library.MobileViTForImageClassification(config))
    model.save_pretrained(folder)
    return model


def lively(config: MobileViTConfig = TINY_CONFIG) -> MobileViT:
    return oracles.randomise(MobileViT(config)).double()


def run_with_trace(model: MobileViT, *size: int, photos: int = 1) -> Trace:
    trace = Trace()
    with torch.no_grad():
        model(torch.randn(photos, 3, *size).double(), trace)
    return trace


# On 96×160 every map is a whole number of 2×2 patches but the last; 72×104 and 75×91 resize more.
SIZES = [(64, 64), (96, 160), (72, 104), (75, 91), (33, 40)]


@pytest.mark.parametrize("size", SIZES)
def test_logits_are_those_of_transformers(tmp_path, size):
    theirs = their_transformers(tmp_path)
    pixels = oracles.photos(2, 3, *size)
    ours = oracles.logits_of(read_transformers(tmp_path), pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(theirs, pixels))


@pytest.mark.parametrize(
    "changes",
    [
        {"expand_ratio": 3.3},
        {"num_attention_heads": 2, "qkv_bias": False, "mlp_ratio": 1.5},
        {"patch_size": 4, "layer_norm_eps": 1e-2},
    ],
)
def test_options_are_read_from_the_configuration(tmp_path, changes):
    theirs = their_transformers(tmp_path, **changes)
    pixels = oracles.photos(2, 3, 72, 104)
    ours = oracles.logits_of(read_transformers(tmp_path), pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(theirs, pixels))


@pytest.mark.parametrize("size", SIZES)
def test_logits_are_those_of_timm(tmp_path, size):
    theirs = oracles.randomise(oracles.timm().create_model("mobilevit_xxs", num_classes=5))
    oracles.save_timm(theirs, tmp_path)
    pixels = oracles.photos(2, 3, *size)
    ours = oracles.logits_of(read_timm(tmp_path), pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(theirs, pixels))


@pytest.mark.parametrize("name", PRESETS)
def test_published_sizes_have_timms_parameters(name):
    theirs = oracles.timm().create_model(f"mobilevit_{name}", num_classes=1000)
    wanted = {key: value.shape for key, value in theirs.named_parameters()}
    ours = {key: value.shape for key, value in MobileViT(PRESETS[name]).named_parameters()}
    assert ours == wanted


@pytest.mark.shared
@pytest.mark.parametrize("layout", ["hf-mobilevit", "timm-mobilevit"])
def test_stored_layouts_load(layout):
    folder = oracles.SHARED / "layouts" / layout
    if not folder.is_dir():
        pytest.skip("there are no stored layouts beside the repository")
    model = read_transformers(folder) if layout.startswith("hf") else read_timm(folder)
    pixels = torch.randn(1, 3, 64, 64)
    assert oracles.logits_of(model, pixels).shape == (1, 5)


@pytest.mark.parametrize("size", [(64, 64), (72, 104), (75, 91)])
def test_rollout_sums_to_one_and_photos_do_not_mix(size):
    model = lively()
    pixels = torch.randn(3, 3, *size).double()
    traces = [Trace() for _ in range(4)]
    with torch.no_grad():
        model(pixels, traces[3])
        for number in range(3):
            model(pixels[number : number + 1], traces[number])
    rollout = propagate_back(traces[3].flows, torch.ones(3, 1, 1).double())
    assert traces[3].grid == tuple(-(-side // 8) for side in size)
    torch.testing.assert_close(rollout.sum(dim=-1), torch.ones(3, 1).double())
    for number in range(3):
        alone = propagate_back(traces[number].flows, torch.ones(1, 1, 1).double())
        torch.testing.assert_close(alone[0], rollout[number])


def test_the_map_is_called_an_approximation():
    assert not MobileViT.exact_flows


def test_watching_changes_no_bit():
    model = lively().float()
    pixels = torch.randn(2, 3, 72, 104)
    with torch.no_grad():
        assert torch.equal(model(pixels, Trace()), model(pixels))


def test_attention_runs_between_equal_places_of_patches():
    layer = run_with_trace(lively(), 64, 96).layers[0]
    rows, cols = layer.index // 12, layer.index % 12
    for group in range(4):
        assert (rows[group] % 2 == group // 2).all()
        assert (cols[group] % 2 == group % 2).all()


def test_index_names_the_tokens_that_attention_saw():
    model = lively()
    seen = {}
    block = model.stages[2][1]
    block.conv_1x1.register_forward_hook(lambda m, i, out: seen.update(map=out))
    block.transformer[0].register_forward_hook(
        lambda m, arguments, out: seen.update(into=arguments)
    )
    trace = run_with_trace(model, 64, 96, photos=2)
    tokens, index = seen["into"][0], trace.layers[0].index
    flat = rearrange(seen["map"], "b d rows cols -> b (rows cols) d")[:, index]
    assert torch.equal(rearrange(flat, "b groups n d -> (b groups) n d"), tokens)


def test_weights_are_those_that_the_fused_kernel_used():
    for layer in run_with_trace(lively(), 64, 96, photos=2).layers:
        torch.testing.assert_close(layer.weights() @ layer.value, layer.attn_output)


def test_every_token_hands_back_all_that_it_holds():
    for flow in run_with_trace(lively(), 75, 91, photos=2).flows:
        count = len(flow.index) if isinstance(flow, LinearMixing) else flow.tokens
        rows = flow.apply_transpose(torch.eye(count).double().expand(2, -1, -1), mean_heads)
        assert (rows >= 0).all()
        torch.testing.assert_close(rows.sum(dim=-1), torch.ones(2, count).double())


def test_flows_of_an_odd_map_resize_attend_and_stride_in_order():
    flows = run_with_trace(lively(), 72, 104).flows
    # 9×13 is resized to 10×14 and back, 5×7 to 6×8 and back, 3×4 to 4×4 and back.
    kinds = [f.tokens if isinstance(f, LinearMixing) else "attend" for f in flows]
    first = [117, "attend", "attend", 140, 117]
    second = [35, *["attend"] * 4, 48, 35]
    third = [12, *["attend"] * 3, 16, 12]
    assert kinds == [*first, *second, *third]


def photo(width: int, height: int) -> Image.Image:
    values = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8)
    return Image.fromarray(values.numpy())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 27}},
        {"size": {"shortest_edge": 30}, "crop_size": {"height": 43, "width": 36}},
        {"do_flip_channel_order": False, "resample": 2},
        {"do_resize": False, "do_center_crop": False},
    ],
)
@pytest.mark.parametrize("size", [(61, 47), (40, 77)])
def test_pixels_are_those_of_transformers_processor(tmp_path, changes, size):
    library = oracles.transformers()
    processor = library.models.mobilevit.image_processing_pil_mobilevit.MobileViTImageProcessorPil
    theirs = processor(**changes)
    theirs.save_pretrained(tmp_path)
    stored = read_json(tmp_path / "preprocessor_config.json", "tiny")
    ours = read_preprocessing(stored, (64, 64), "tiny")
    picture = photo(*size)
    wanted = theirs(images=picture, return_tensors="pt")["pixel_values"]
    assert torch.equal(ours(picture).pixels, wanted)


def test_processors_of_2022_are_read():
    stored = {
        "feature_extractor_type": "MobileViTFeatureExtractor",
        "crop_size": 256,
        "do_center_crop": True,
        "do_flip_channel_order": True,
        "do_resize": True,
        "resample": 2,
        "size": 288,
    }
    read = read_preprocessing(stored, (256, 256), "old")
    assert read == Preprocessing(288, (256, 256), mean=None, std=None, bgr=True)


def test_blue_comes_first_before_mean_and_deviation():
    picture = Image.new("RGB", (1, 1), (10, 20, 30))
    shown = Preprocessing(None, scale=1.0, mean=(1.0, 2.0, 3.0), std=(1.0, 1.0, 1.0), bgr=True)(
        picture
    )
    assert shown.pixels.flatten().tolist() == [29, 18, 7]


def test_blue_first_is_not_written_as_a_vit_processor():
    with pytest.raises(UnsupportedError, match="blue first"):
        preprocessing_json(Preprocessing((32, 32), bgr=True))


@pytest.mark.parametrize(
    "changes", [{"hidden_act": "relu"}, {"output_stride": 16}, {"conv_kernel_size": 5}]
)
def test_what_is_not_read_is_refused(tmp_path, changes):
    their_transformers(tmp_path, **changes)
    with pytest.raises(UnsupportedError, match=next(iter(changes))):
        hf_format.read(tmp_path, "odd")


def test_other_tensors_are_not_taken_for_timms():
    with pytest.raises(CheckpointError, match="no MobileViT"):
        family.read_timm_config({}, {}, "odd")


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": 0},
        {"widths": (24, 32, 0)},
        {"widths": (24, 32, 41)},
        {"depths": (2, 4)},
        {"dropout": 1.0},
        {"stem": True},
        {"widths": (24, 32, 2**70)},
        {"widths": (24.5, 32, 40)},
        {"channels_of_stages": (16, 24, 48, 64, "x")},
        {"depths": (2, 4, 10**400)},
        {"expansion": float("inf")},
        {"expansion": 1e6},
        {"mlp_ratio": float("nan")},
        {"mlp_ratio": -1.0},
        {"layer_norm_eps": "x"},
        {"patch_size": 4096},
        {"image_size": (256, 1.5)},
        {"qkv_bias": None},
    ],
)
def test_contradictions_are_refused(changes):
    with pytest.raises(ConfigError):
        hostile.remade(preset("xxs"), **changes)


def test_presets_are_named():
    assert preset("xs", classes=5).classes == 5
    with pytest.raises(ConfigError, match="xxs"):
        preset("xl")
