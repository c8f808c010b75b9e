"""The transformers layout, with the transformers library itself as the judge."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vit_demo import explain, load
from vit_demo.checkpoints import hf_format as layout
from vit_demo.checkpoints.checkpoint import load_state_dict_strict
from vit_demo.checkpoints.families import FAMILIES
from vit_demo.checkpoints.families.vit import HF_GELUS, read_hf_config, size_name
from vit_demo.checkpoints.files import CONFIG, PROCESSOR, WEIGHTS
from vit_demo.errors import CheckpointError, StateDictMismatchError, UnsupportedError
from vit_demo.models.layers import Mlp
from vit_demo.models.vit import VisionTransformer, preset
from vit_demo.photo import read_photo
from vit_demo.preprocess import Preprocessing
from vit_demo.trace import Trace, propagate_back

LABELS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


def our_model(folder):
    stored = layout.read(folder, "the checkpoint")
    model = VisionTransformer(stored.config).eval()
    load_state_dict_strict(model, stored.tensors, "the checkpoint")
    return stored, model


def their_pixels(folder, path):
    from transformers import AutoImageProcessor
    from transformers.image_utils import load_image

    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return processor(load_image(str(path)), return_tensors="pt").pixel_values


def their_model(folder, **options):
    from transformers import AutoModelForImageClassification

    return AutoModelForImageClassification.from_pretrained(
        folder, dtype=torch.float32, **options
    ).eval()


def assert_same_answer(folder, path):
    """Pixels to the last bit, logits to 1e-4 of their size, from the file to the answer."""
    stored, model = our_model(folder)
    pixels = stored.preprocessing(read_photo(path)).pixels
    theirs = their_pixels(folder, path)
    assert torch.equal(pixels, theirs.float())
    with torch.no_grad():
        expected = their_model(folder)(theirs.float(), interpolate_pos_encoding=True).logits
        found = model(pixels)
    assert expected.std() > 0.01  # or agreement would mean nothing
    assert ((found - expected).abs() <= 1e-4 * expected.abs().clamp(min=1)).all()


def rewrite(folder, name, keep_null=False, **changes):
    """Change entries of a JSON file; None removes one, or is written as null."""
    path = folder / name
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in content.items() if keep_null or value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"qkv_bias": False},
        {"hidden_act": "gelu_new"},
        {"hidden_act": "gelu_pytorch_tanh"},
        {"hidden_act": "gelu_fast"},
        {"hidden_act": "quick_gelu"},
        {"num_attention_heads": 4, "num_hidden_layers": 3},
        {"patch_size": 4},
        {"patch_size": [8, 8], "image_size": [32, 32]},
        {"layer_norm_eps": 1e-12},
    ],
    ids=str,
)
def test_logits_are_the_librarys_own_for_every_option(their_checkpoint, photo_file, changes):
    assert_same_answer(their_checkpoint(**changes), photo_file)


@pytest.mark.parametrize("name", HF_GELUS)
def test_every_gelu_is_the_librarys_function_of_that_name(name):
    """The two kinds differ by too little to show in logits, so they are compared as functions."""
    from transformers.activations import ACT2FN

    x = torch.linspace(-5, 5, 201)
    config = read_hf_config({"hidden_act": name}, {}, "vit", 2, "it")
    ours = Mlp(1, 1, config.gelu, 0.0).act
    torch.testing.assert_close(ours(x), ACT2FN[name](x), rtol=0, atol=1e-6)


def test_layer_norm_eps_left_out_is_the_librarys_default(their_checkpoint):
    folder = their_checkpoint()
    rewrite(folder, CONFIG, layer_norm_eps=None)
    assert layout.read(folder, "it").config.layer_norm_eps == 1e-12


STEPS = ("do_resize", "do_rescale", "do_normalize")
SILENT = dict.fromkeys((*STEPS, "resample", "image_mean", "image_std", "rescale_factor"))
PROCESSORS = {
    "rectangle": {"size": {"height": 24, "width": 40}},
    "bicubic": {"resample": 3},
    "nearest": {"resample": 0},
    "no rescaling": {"do_rescale": False},
    "other factor": {"rescale_factor": 1 / 127.5},
    "no normalising": {"do_normalize": False},
    "own mean and std": {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]},
    "shorter edge": {"size": {"shortest_edge": 32}},
    "shorter edge and crop": {
        "size": {"shortest_edge": 40},
        "do_center_crop": True,
        "crop_size": {"height": 32, "width": 24},
    },
    "crop alone": {
        "do_resize": False,
        "do_center_crop": True,
        "crop_size": {"height": 32, "width": 32},
    },
    "DeiT": {
        "image_processor_type": "DeiTImageProcessor",
        "size": {"height": 40, "width": 40},
        "do_center_crop": True,
        "crop_size": {"height": 32, "width": 32},
        "resample": 3,
    },
    "BiT": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 40},
        "do_center_crop": True,
        "crop_size": {"height": 32, "width": 32},
        "resample": 3,
    },
    "BiT, crop larger than the picture": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 21},
        "crop_size": {"height": 32, "width": 32},
        "do_center_crop": True,
    },
    "BiT, the rest left out": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 40},
        "crop_size": {"height": 32, "width": 32},
        "resample": None,
        "image_mean": None,
        "image_std": None,
        "do_resize": None,
        "do_rescale": None,
        "rescale_factor": None,
        "do_normalize": None,
    },
    "BiT, nothing stated": dict.fromkeys(
        ("size", "resample", "image_mean", "image_std", "do_resize", "do_rescale", "do_normalize")
    )
    | {"image_processor_type": "BitImageProcessor"},
    "CLIP, a number for each": {
        "image_processor_type": "CLIPImageProcessorPil",
        "size": 40,
        "crop_size": 32,
        **SILENT,
    },
    "CLIP of 2021": {
        "image_processor_type": None,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "size": 32,
        "crop_size": 32,
        **SILENT,
    },
    "SigLIP": {"image_processor_type": "SiglipImageProcessorFast", **SILENT},
    "SigLIP, shorter edge and crop": {
        "image_processor_type": "SiglipImageProcessor",
        "size": 40,
        "crop_size": 32,
        "do_center_crop": True,
    },
    "BEiT": {"image_processor_type": "BeitImageProcessor", **SILENT},
    "BEiT, cropped": {
        "image_processor_type": "BeitImageProcessor",
        "do_center_crop": True,
        **SILENT,
    },
    "PVT": {"image_processor_type": "PvtImageProcessor", **SILENT},
    "MobileNetV2": {
        "image_processor_type": "MobileNetV2ImageProcessor",
        "size": {"shortest_edge": 40},
        "crop_size": {"height": 32, "width": 32},
        **SILENT,
    },
    "MobileNetV2, nothing stated": {
        "image_processor_type": "MobileNetV2ImageProcessor",
        "size": None,
        **SILENT,
    },
    "ConvNeXT": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_pct": 0.875,
        **SILENT,
    },
    "ConvNeXT, squeezed": {
        "image_processor_type": None,
        "feature_extractor_type": "ConvNextFeatureExtractor",
        "size": {"shortest_edge": 384},
        **SILENT,
    },
    "one number for three colours": {"image_mean": 0.4, "image_std": 0.2},
    "a number that is the shorter edge": {
        "size": 40,
        "default_to_square": False,
        "do_center_crop": True,
        "crop_size": 32,
    },
    "2020, one number": {
        "image_processor_type": None,
        "feature_extractor_type": "ViTFeatureExtractor",
        "size": 32,
        "do_rescale": None,
        "rescale_factor": None,
    },
    "ViT, the rest left out": {
        "resample": None,
        "image_mean": None,
        "image_std": None,
        "do_resize": None,
        "do_rescale": None,
        "rescale_factor": None,
        "do_normalize": None,
    },
}


@pytest.mark.parametrize("changes", PROCESSORS.values(), ids=PROCESSORS)
@pytest.mark.parametrize("size", [(101, 67), (67, 101)])
def test_pixels_and_logits_are_the_librarys_own_for_every_processor(
    their_checkpoint, noise_photo, tmp_path, changes, size
):
    folder = their_checkpoint()
    rewrite(folder, PROCESSOR, **changes)
    path = tmp_path / "photo.png"
    noise_photo(*size).save(path)
    assert_same_answer(folder, path)


@pytest.mark.parametrize("kind", ["ViTImageProcessor", "BitImageProcessor"])
def test_a_step_that_is_null_is_not_taken(their_checkpoint, photo_file, kind):
    """Newer releases of the library list every entry that they know, the unused ones as null."""
    folder = their_checkpoint()
    nulls = dict.fromkeys(("do_center_crop", "crop_size", "do_pad", "pad_size", "device"))
    rewrite(folder, PROCESSOR, keep_null=True, image_processor_type=kind, **nulls)
    assert_same_answer(folder, photo_file)
    rewrite(folder, PROCESSOR, keep_null=True, do_normalize=None, image_mean=None, image_std=None)
    assert_same_answer(folder, photo_file)


@pytest.mark.parametrize("size", [(33, 250), (31, 31), (8, 9), (640, 427)])
def test_odd_sizes_of_photos_are_read_alike(their_checkpoint, noise_photo, tmp_path, size):
    path = tmp_path / "photo.png"
    noise_photo(*size).save(path)
    assert_same_answer(their_checkpoint(), path)


@pytest.mark.parametrize("kind", ["turned", "grey", "palette", "cmyk"])
def test_odd_kinds_of_photos_are_read_alike(their_checkpoint, noise_photo, tmp_path, kind):
    photo = noise_photo(101, 67)
    path = tmp_path / ("photo.png" if kind == "palette" else "photo.jpg")
    match kind:
        case "turned":
            exif = Image.Exif()
            exif[0x0112] = 6
            photo.save(path, exif=exif)
        case "grey":
            photo.convert("L").save(path)
        case "palette":
            photo.convert("P").save(path)
        case "cmyk":
            photo.convert("CMYK").save(path)
    assert_same_answer(their_checkpoint(), path)


def test_what_is_transparent_is_read_as_white(their_checkpoint, noise_photo, tmp_path):
    """The library reads whatever lies under transparent pixels, which nobody sees."""
    photo, path = noise_photo(101, 67), tmp_path / "photo.png"
    photo.putalpha(photo.convert("L"))
    photo.save(path)
    shown = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")
    shown.save(tmp_path / "shown.png")
    ours = load(str(their_checkpoint()))
    seen = [explain(ours, each).logits for each in (path, tmp_path / "shown.png")]
    torch.testing.assert_close(*seen)
    assert_same_answer(their_checkpoint(), tmp_path / "shown.png")


def test_rollout_is_the_one_from_the_librarys_eager_attentions(their_checkpoint, photo_file):
    assert_same_rollout(their_checkpoint(num_hidden_layers=4), photo_file)


def assert_same_rollout(folder, path):
    stored, model = our_model(folder)
    pixels = stored.preprocessing(read_photo(path)).pixels
    trace = Trace()
    with torch.no_grad():
        model(pixels, trace)
        found = propagate_back(trace.flows, torch.ones(1, 1, 1))[0, 0]
        eager = their_model(folder, attn_implementation="eager")
        attentions = eager(pixels, output_attentions=True).attentions
    assert len(attentions) == stored.config.depth
    eye = torch.eye(attentions[0].shape[-1])
    product = eye
    for weights in attentions:
        product = (weights[0].mean(dim=0) + eye) / 2 @ product
    expected = product[0, 1:] / product[0, 1:].sum()
    found = found / found.sum()
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-5
    assert expected.max() > 1.1 * expected.min()


def test_dinov2s_tokens_are_the_librarys_own(their_checkpoint):
    """A backbone has no head, so the tokens after the last norm are compared."""
    import transformers

    folder = their_checkpoint("dinov2", layerscale_value=0.5)
    stored = layout.read(folder, "it")
    assert not stored.has_head
    model = VisionTransformer(stored.config).eval()
    heads = {n: v for n, v in model.state_dict().items() if n.startswith("head.")}
    load_state_dict_strict(model, {**stored.tensors, **heads}, "it")
    pixels = torch.randn(2, 3, 32, 32)
    oracle = transformers.Dinov2Model.from_pretrained(folder).eval()
    tokens = model.embed(pixels)
    for block in model.blocks:
        tokens = block(tokens)
    expected = oracle(pixels).last_hidden_state
    torch.testing.assert_close(model.norm(tokens), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("changes", [{}, {"gelu": "tanh", "qkv_bias": False}], ids=str)
def test_what_is_written_here_is_read_by_the_library(
    tmp_path, tiny_config, make_model, photo_file, dtype, changes
):
    config = replace(tiny_config, layer_norm_eps=0.05, **changes)
    model = make_model(config)
    preprocessing = Preprocessing(resize=(32, 32), resample=Image.Resampling.BICUBIC)
    layout.write(tmp_path / "new", config, model.state_dict(), LABELS, preprocessing, dtype)
    assert_same_answer(tmp_path / "new", photo_file)
    oracle = their_model(tmp_path / "new")
    assert type(oracle).__name__ == "ViTForImageClassification"
    assert oracle.config.id2label == dict(enumerate(LABELS))
    if dtype == torch.float32:
        pixels = their_pixels(tmp_path / "new", photo_file)
        torch.testing.assert_close(model(pixels), oracle(pixels).logits, rtol=1e-4, atol=1e-4)


def test_what_is_written_here_is_read_here_the_same(our_checkpoint, tiny_config, tiny_model):
    stored = layout.read(our_checkpoint, "it")
    assert stored.config == tiny_config
    assert stored.labels == LABELS
    assert stored.preprocessing == Preprocessing(resize=(32, 32))
    assert stored.layout == "transformers"
    assert stored.architecture == "ViT width 24/8"
    assert stored.has_head
    wanted = tiny_model.state_dict()
    assert stored.tensors.keys() == wanted.keys()
    assert all(torch.equal(stored.tensors[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("image_size", [(24, 40), (40, 24)])
def test_a_rectangular_model_survives_writing_and_reading(
    tmp_path, tiny_config, make_model, image_size
):
    config = replace(tiny_config, image_size=image_size)
    model = make_model(config)
    preprocessing = Preprocessing(resize=image_size)
    layout.write(tmp_path, config, model.state_dict(), LABELS, preprocessing, torch.float32)
    stored, again = our_model(tmp_path)
    assert stored.config == config
    assert stored.preprocessing == preprocessing
    pixels = torch.randn(1, 3, *image_size)
    torch.testing.assert_close(again(pixels), model(pixels))


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(resize=(24, 40), resample=Image.Resampling.LANCZOS),
        Preprocessing(resize=(32, 32), mean=None, std=None),
        Preprocessing(resize=40, crop=(32, 24), resample=Image.Resampling.BICUBIC),
        Preprocessing(resize=(32, 32), scale=1.0, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0)),
    ],
)
def test_preprocessing_survives_writing_and_reading(our_checkpoint, preprocessing):
    from vit_demo.checkpoints.processor import preprocessing_json, read_preprocessing

    written = json.loads(json.dumps(preprocessing_json(preprocessing)))
    assert read_preprocessing(written, (8, 8), "it") == preprocessing


def test_a_written_crop_is_the_librarys_own(our_checkpoint, photo_file):
    from vit_demo.checkpoints.files import PROCESSOR, write_json
    from vit_demo.checkpoints.processor import preprocessing_json

    crop = Preprocessing(resize=34, crop=(32, 32), resample=Image.Resampling.BICUBIC)
    write_json(our_checkpoint / PROCESSOR, preprocessing_json(crop))
    pixels = crop(read_photo(photo_file)).pixels
    torch.testing.assert_close(pixels, their_pixels(our_checkpoint, photo_file), rtol=0, atol=0)


@pytest.mark.parametrize("changes", [{"resize": 32}, {"resize": None}, {"crop": (16, 16)}])
def test_preprocessing_that_the_file_cannot_say_is_not_written(changes):
    from vit_demo.checkpoints.processor import preprocessing_json

    with pytest.raises(UnsupportedError, match="has no processor file here"):
        preprocessing_json(Preprocessing(**{"resize": (32, 32), **changes}))


@pytest.mark.parametrize(
    "changes", [{"layer_scale": 0.1}, {"distilled": True}, {"representation": 16}], ids=str
)
def test_models_that_the_layout_cannot_say_are_not_written(
    tmp_path, tiny_config, make_model, changes
):
    config = replace(tiny_config, **changes)
    tensors = make_model(config).state_dict()
    with pytest.raises(UnsupportedError, match="fold or drop them before saving"):
        layout.write(
            tmp_path, config, tensors, LABELS, Preprocessing(resize=(32, 32)), torch.float32
        )
    assert not (tmp_path / WEIGHTS).exists()


def test_no_processor_file_means_the_models_size_and_the_vit_defaults(our_checkpoint):
    assert layout.read(our_checkpoint, "it").preprocessing_source == "file"
    (our_checkpoint / PROCESSOR).unlink()
    stored = layout.read(our_checkpoint, "it")
    assert stored.preprocessing == Preprocessing(resize=(32, 32))
    assert stored.preprocessing_source == "guess"


@pytest.mark.parametrize("name", ["bicubic", "BICUBIC"])
def test_a_filter_may_be_stated_by_its_name(our_checkpoint, name):
    rewrite(our_checkpoint, PROCESSOR, resample=name)
    found = layout.read(our_checkpoint, "it").preprocessing.resample
    assert found == Image.Resampling.BICUBIC


def test_a_processor_inside_processor_config_is_read_as_the_library_does(
    their_checkpoint, photo_file
):
    folder = their_checkpoint()
    stated = json.loads((folder / PROCESSOR).read_text(encoding="utf-8"))
    nested = {"image_processor": stated | {"image_mean": [0.485, 0.456, 0.406]}}
    (folder / "processor_config.json").write_text(json.dumps(nested), encoding="utf-8")
    assert layout.read(folder, "it").preprocessing.mean == (0.485, 0.456, 0.406)
    assert_same_answer(folder, photo_file)
    (folder / PROCESSOR).unlink()
    assert layout.read(folder, "it").preprocessing_source == "file"
    assert_same_answer(folder, photo_file)


def test_a_processor_without_a_size_takes_the_models(our_checkpoint):
    rewrite(our_checkpoint, PROCESSOR, size=None)
    assert layout.read(our_checkpoint, "it").preprocessing.resize == (32, 32)


def test_without_a_file_the_familys_processor_brings_photos_to_the_models_size():
    from vit_demo.checkpoints.processor import read_preprocessing

    bicubic = Image.Resampling.BICUBIC
    assert read_preprocessing({}, (64, 64), "it", "mobilevit") == Preprocessing(
        64, (64, 64), resample=bicubic, mean=None, std=None, bgr=True
    )
    found = read_preprocessing({}, (42, 28), "it", "dinov2")
    assert (found.resize, found.crop, found.resample) == (28, (42, 28), bicubic)
    assert read_preprocessing({}, (96, 96), "it", "swin") == Preprocessing((96, 96))


def test_a_file_without_a_size_means_the_processors_own_where_any_fits():
    """Swin takes any size, and the library's processor has 224; a ViT takes but its own."""
    from vit_demo.checkpoints.processor import read_preprocessing

    stored = {"image_processor_type": "ViTImageProcessor"}
    assert read_preprocessing(stored, (96, 96), "it", "swin").resize == (224, 224)
    assert read_preprocessing(stored, (96, 96), "it", "vit").resize == (96, 96)


def test_a_pooler_and_a_mask_token_are_no_part_of_the_classifier(our_checkpoint):
    from safetensors.torch import load_file, save_file

    extra = {
        "vit.pooler.dense.weight": torch.zeros(24, 24),
        "vit.pooler.dense.bias": torch.zeros(24),
        "vit.embeddings.mask_token": torch.zeros(1, 1, 24),
    }
    path = our_checkpoint / WEIGHTS
    save_file({**load_file(path), **extra}, path)
    our_model(our_checkpoint)


def test_names_without_the_family_prefix_are_read_too(our_checkpoint):
    """A bare ViTModel is saved without it; its head is then the only thing missing."""
    from safetensors.torch import load_file, save_file

    path = our_checkpoint / WEIGHTS
    tensors = load_file(path)
    bare = {n.removeprefix("vit."): v for n, v in tensors.items() if n.startswith("vit.")}
    save_file(bare, path)
    assert not layout.read(our_checkpoint, "it").has_head
    with pytest.raises(StateDictMismatchError) as refusal:
        our_model(our_checkpoint)
    assert refusal.value.missing == ("head.bias", "head.weight")
    assert not refusal.value.unexpected


def test_tensors_of_another_shape_or_name_are_listed(our_checkpoint):
    from safetensors.torch import load_file, save_file

    path = our_checkpoint / WEIGHTS
    tensors = load_file(path)
    del tensors["vit.encoder.layer.1.attention.attention.key.weight"]
    tensors["vit.encoder.layer.1.gate.weight"] = torch.zeros(2)
    tensors["classifier.bias"] = torch.zeros(7)
    save_file(tensors, path)
    with pytest.raises(StateDictMismatchError) as refusal:
        our_model(our_checkpoint)
    assert refusal.value.missing == ("blocks.1.attn.qkv.weight",)
    alone = ("blocks.1.attn.query.weight", "blocks.1.attn.value.weight")
    assert refusal.value.unexpected == (*alone, "blocks.1.gate.weight")
    assert refusal.value.reshaped == {"head.bias": ((5,), (7,))}


@pytest.mark.parametrize("family", ["levit", "pvt", None])
def test_another_family_is_refused_and_the_readable_ones_are_named(our_checkpoint, family):
    rewrite(our_checkpoint, CONFIG, model_type=family)
    with pytest.raises(UnsupportedError) as refusal:
        layout.read(our_checkpoint, "owner/name")
    message = str(refusal.value)
    assert message.startswith(f"owner/name is of the family '{family or 'unknown'}'")
    names = {name for family in FAMILIES for name in family.model_types.values()}
    assert all(known in message for known in names)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (CONFIG, {"patch_size": [8, 4]}, "patches of 8 × 4 pixels; only square ones are read"),
        (CONFIG, {"num_channels": 1}, "pixels of 1 channel; photos here have 3"),
        (CONFIG, {"hidden_act": "relu"}, "activation 'relu'; readable: gelu, gelu_new"),
        (PROCESSOR, {"size": {"longest_edge": 32}}, "longest_edge.*is not read here"),
        (PROCESSOR, {"size": {"shortest_edge": 32, "longest_edge": 64}}, "is not read here"),
        (PROCESSOR, {"do_center_crop": True, "crop_size": {"shortest_edge": 32}}, "crop_size="),
        (PROCESSOR, {"image_mean": [0.5]}, "image_mean=.*state one number, or three"),
        (PROCESSOR, {"resample": 9}, "resample=9 .* no filter of Pillow's"),
        (PROCESSOR, {"do_pad": True}, "do_pad=True .* not read here"),
    ],
)
def test_an_option_that_is_not_read_is_named(our_checkpoint, file, changes, message):
    rewrite(our_checkpoint, file, **changes)
    with pytest.raises(UnsupportedError, match=f"^owner/name.*{message}"):
        layout.read(our_checkpoint, "owner/name")


@pytest.mark.parametrize(
    "kind",
    [
        "LevitImageProcessorFast",
        "EfficientNetImageProcessor",
        "DPTImageProcessor",
        "ViTHybridImageProcessor",
        "MyOwn",
    ],
)
def test_a_processor_with_other_rules_is_refused_by_name(our_checkpoint, kind):
    rewrite(our_checkpoint, PROCESSOR, image_processor_type=kind)
    with pytest.raises(UnsupportedError, match=f"'{kind}', which is not read here.*ViT, DeiT"):
        layout.read(our_checkpoint, "owner/name")


@pytest.mark.parametrize(
    ("family", "kind"), [("deit", "DeiT"), ("dinov2", "Bit"), ("swin", "ViT"), ("vit", "ViT")]
)
def test_a_processor_without_a_name_is_its_familys(their_checkpoint, noise_photo, family, kind):
    from vit_demo.checkpoints.processor import PROCESSORS, read_preprocessing

    transformers = pytest.importorskip("transformers")
    folder = their_checkpoint()
    rewrite(folder, CONFIG, model_type=family)
    stored = {"do_resize": True, "size": {"height": 40, "width": 40}}
    (folder / PROCESSOR).write_text(json.dumps(stored), encoding="utf-8")
    oracle = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    assert type(oracle).__name__ == f"{kind}ImageProcessorPil"
    assert kind in PROCESSORS
    photo = noise_photo(101, 67)
    ours = read_preprocessing(stored, (32, 32), "it", family)(photo).pixels
    assert torch.equal(ours, oracle(photo, return_tensors="pt").pixel_values.float())


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named(our_checkpoint, name):
    (our_checkpoint / name).unlink()
    with pytest.raises(CheckpointError, match=f"^owner/name has no {re.escape(name)}"):
        layout.read(our_checkpoint, "owner/name")


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b'{"not": "tensors"}', None])
def test_damaged_weights_are_refused(our_checkpoint, content):
    path = our_checkpoint / WEIGHTS
    half = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(half if content is None else content)
    with pytest.raises(CheckpointError, match=f"^owner/name: {re.escape(WEIGHTS)} is damaged"):
        layout.read(our_checkpoint, "owner/name")


def test_pickled_weights_are_never_opened(our_checkpoint):
    (our_checkpoint / WEIGHTS).rename(our_checkpoint / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"start with --allow-pickle"):
        layout.read(our_checkpoint, "owner/name")


@pytest.mark.parametrize("name", [CONFIG, PROCESSOR])
@pytest.mark.parametrize(
    ("content", "message"),
    [(b'{"a": ', "cannot be read"), (b"[1, 2]", "no JSON object"), (b"\xff\xfe", "cannot be read")],
)
def test_damaged_json_is_refused(our_checkpoint, name, content, message):
    (our_checkpoint / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"^owner/name: {re.escape(name)} .*{message}"):
        layout.read(our_checkpoint, "owner/name")


@pytest.mark.parametrize("numbers", [("0", "1", "3"), ("1", "2", "3"), ("a", "b", "c")])
def test_labels_that_are_not_numbered_through_are_refused(our_checkpoint, numbers):
    rewrite(our_checkpoint, CONFIG, id2label=dict.fromkeys(numbers, "rose"))
    with pytest.raises(CheckpointError, match="does not number its classes 0, 1, 2"):
        layout.read(our_checkpoint, "owner/name")


def test_labels_are_in_the_order_of_their_numbers(our_checkpoint):
    shuffled = {str(index): LABELS[index] for index in (3, 0, 4, 1, 2)}
    rewrite(our_checkpoint, CONFIG, id2label=shuffled)
    assert layout.read(our_checkpoint, "it").labels == LABELS


def test_without_labels_classes_are_numbered(our_checkpoint):
    rewrite(our_checkpoint, CONFIG, id2label=None, num_labels=3)
    assert layout.read(our_checkpoint, "it").labels == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize(
    ("name", "letters"),
    [("ti16", "Ti/16"), ("s16", "S/16"), ("b32", "B/32"), ("l16", "L/16"), ("h14", "H/14")],
)
def test_published_sizes_are_called_by_their_letters(name, letters):
    assert size_name(preset(name)) == letters


@pytest.fixture
def flowers(shared):
    return shared / "checkpoints" / "vit-small-patch14-flowers5"


@pytest.fixture(params=LABELS)
def flower(request, shared):
    return sorted((shared / "flower_photos" / request.param).glob("*.jpg"))[0]


@pytest.mark.shared
def test_the_real_checkpoint_answers_as_the_library_does(flowers, flower):
    assert_same_answer(flowers, flower)


@pytest.mark.shared
def test_the_real_checkpoints_rollout_is_the_librarys(flowers, flower):
    assert_same_rollout(flowers, flower)


@pytest.mark.shared
def test_the_real_checkpoint_names_real_flowers(flowers, shared):
    """Trained elsewhere on such photos: eight of ten is far above the two of chance."""
    stored, model = our_model(flowers)
    right = 0
    for index, label in enumerate(stored.labels):
        for path in sorted((shared / "flower_photos" / label).glob("*.jpg"))[:2]:
            with torch.no_grad():
                logits = model(stored.preprocessing(read_photo(path)).pixels)
            right += int(np.argmax(logits.numpy())) == index
    assert right >= 8
