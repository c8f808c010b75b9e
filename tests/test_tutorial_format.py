"""The tutorials' bare .pth files: everything inferred from tensors with timm's names."""

import importlib
import json
import os
import re

import coverage_of_timm
import oracles
import pytest
import torch
from PIL import Image

from vit_demo import explain
from vit_demo.checkpoints import load, read_folder
from vit_demo.checkpoints import tutorial_format as tutorials
from vit_demo.checkpoints.checkpoint import build
from vit_demo.checkpoints.files import AVERAGED_DICTS, STATE_DICTS
from vit_demo.errors import CheckpointError, NotFoundError, UnsupportedError
from vit_demo.photo import read_photo

LABELS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
WIDE = {"embed_dim": 192, "num_heads": 3, "depth": 2, "patch_size": 8, "img_size": 32}


def tutorial(folder, name="vit_tiny_patch16_224", **changes):
    """A model as the tutorials save it: its state dict, and the names of its classes."""
    arguments = {**WIDE, "num_classes": 5, **changes}
    model = oracles.randomise(oracles.timm().create_model(name, **arguments))
    torch.save(model.state_dict(), folder / "flowers.pth")
    numbered = {str(index): label for index, label in enumerate(LABELS)}
    (folder / "class_indices.json").write_text(json.dumps(numbered))
    return model


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("vit_tiny_patch16_224", {}),
        ("deit_tiny_distilled_patch16_224", {}),
        ("deit3_small_patch16_224", {}),
        ("swin_tiny_patch4_window7_224", {"depths": (1, 2), "num_heads": (2, 4), "depth": None}),
    ],
)
def test_logits_are_timms_and_labels_are_the_files(tmp_path, photo_file, name, changes):
    if "swin" in name:
        changes = {**changes, "patch_size": 4, "img_size": 224, "embed_dim": 8}
    model = tutorial(tmp_path, name, **changes)
    checkpoint = load(str(tmp_path / "flowers.pth"))
    assert checkpoint.labels == LABELS
    assert checkpoint.layout == "tutorial"
    assert checkpoint.preprocessing == read_folder(tmp_path, "the folder").preprocessing
    pixels = checkpoint.preprocessing(read_photo(photo_file)).pixels
    found = oracles.logits_of(checkpoint.model, pixels)
    oracles.assert_same_logits(found, oracles.logits_of(model, pixels))


def test_registers_and_gates_of_dinov2s_own_repository_are_those_of_timms_conversion(tmp_path):
    model = oracles.timm().create_model(
        "vit_small_patch14_reg4_dinov2", embed_dim=192, num_heads=3, depth=1, img_size=28
    )
    state = oracles.randomise(model).state_dict()
    token, patches = state.pop("cls_token"), state.pop("pos_embed")
    own = {
        **state,
        "cls_token": token,
        "register_tokens": state.pop("reg_token"),
        "pos_embed": torch.cat([torch.randn(1, 1, 192), patches], dim=1),
        "mask_token": torch.zeros(1, 192),
    }
    del own["reg_token"]
    torch.save(own, tmp_path / "dinov2.pth")
    convert = importlib.import_module("timm.models.vision_transformer").checkpoint_filter_fn
    expected = convert(dict(own), model)
    found = read_folder(tmp_path, "it")
    assert found.tensors.keys() == expected.keys()
    assert all(torch.equal(found.tensors[name], expected[name]) for name in expected)
    assert found.notes == ("Left out, as no part of the classifier: mask_token.",)


def test_pre_logits_are_linear_and_tanh(tmp_path):
    model = tutorial(tmp_path)
    weight, bias, head = torch.randn(16, 192), torch.randn(16), torch.randn(5, 16)
    extra = {"pre_logits.fc.weight": weight, "pre_logits.fc.bias": bias, "head.weight": head}
    torch.save({**model.state_dict(), **extra}, tmp_path / "flowers.pth")
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features = torch.tanh(model.forward_features(pixels)[:, 0] @ weight.T + bias)
        expected = features @ head.T + model.head.bias
    ours = load(str(tmp_path / "flowers.pth")).model
    oracles.assert_same_logits(oracles.logits_of(ours, pixels), expected)


HALF, IMAGENET = ((0.5,) * 3, (0.5,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def as_a_script_does(photo_file, resize, crop, filter_name, statistics):
    """Resize, CenterCrop, ToTensor and Normalize, from the file, as training scripts write it."""
    oracles.timm()
    transforms = importlib.import_module("torchvision.transforms")
    steps = transforms.Compose(
        [
            transforms.Resize(resize, transforms.InterpolationMode(filter_name)),
            transforms.CenterCrop(crop),
            transforms.ToTensor(),
            transforms.Normalize(*statistics),
        ]
    )
    with Image.open(photo_file) as photo:
        return steps(photo.convert("RGB"))[None]


SWIN_TINY = {"depths": (1, 1), "num_heads": (2, 4), "embed_dim": 8, "num_classes": 5}
PREPARED = [
    ("vit_tiny_patch16_224", "vit", (256, 224, "bilinear", HALF)),
    ("swin_tiny_patch4_window7_224", "swin", (256, 224, "bilinear", IMAGENET)),
    ("swin_base_patch4_window12_384", "swin", (int(384 * 1.143), 384, "bilinear", IMAGENET)),
    ("deit_tiny_distilled_patch16_224", "deit", (256, 224, "bicubic", IMAGENET)),
    ("deit3_small_patch16_224", "dinov2", (256, 224, "bicubic", IMAGENET)),
]


def saved(folder, name):
    """One block of a published shape, under timm's names."""
    changes = SWIN_TINY if "swin" in name else {"depth": 1, "num_classes": 5}
    model = oracles.randomise(oracles.timm().create_model(name, **changes))
    torch.save(model.state_dict(), folder / "flowers.pth")
    return model


@pytest.mark.parametrize(("name", "preset", "steps"), PREPARED)
def test_from_the_photos_file_to_logits_as_the_familys_own_scripts(
    tmp_path, photo_file, name, preset, steps
):
    model = saved(tmp_path, name)
    pixels = as_a_script_does(photo_file, *steps)
    expected = oracles.logits_of(model, pixels)
    checkpoint = load(str(tmp_path / "flowers.pth"))
    found = explain(checkpoint, photo_file)
    oracles.assert_same_logits(found.logits[None], expected)
    assert found.as_json()["preprocessing_source"] == "guess"
    other = "vit" if preset != "vit" else "deit"
    chosen = load(str(tmp_path / "flowers.pth"), preprocessing=other)
    changed = explain(chosen, photo_file)
    assert changed.as_json()["preprocessing_source"] == "option"
    assert (changed.logits - found.logits).abs().max() > 1e-3
    again = load(str(tmp_path / "flowers.pth"), preprocessing=preset)
    assert torch.equal(explain(again, photo_file).logits, found.logits)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_the_tutorial_with_a_list_of_classes_has_a_short_side_and_another_gelu(
    tmp_path, photo_file, name
):
    """Its script resizes the short side to the input's, and writes out GELU's approximation."""
    (tmp_path / "logs").mkdir()
    model = saved(tmp_path / "logs", name)
    for module in model.modules():
        if isinstance(module, torch.nn.GELU):
            module.approximate = "tanh"
    (tmp_path / "model_data").mkdir()
    names = tmp_path / "model_data" / "cls_classes.txt"
    names.write_text("\n".join(LABELS), encoding="gbk")
    checkpoint = load(str(tmp_path / "logs" / "flowers.pth"))
    assert checkpoint.labels == LABELS
    assert checkpoint.model.config.gelu == "tanh"
    pixels = as_a_script_does(photo_file, 224, 224, "bilinear", HALF)
    found = explain(checkpoint, photo_file).logits[None]
    oracles.assert_same_logits(found, oracles.logits_of(model, pixels))


def test_a_processors_file_beside_the_weights_says_how_photos_are_prepared(tmp_path):
    tutorial(tmp_path, patch_size=16, img_size=224)
    assert read_folder(tmp_path, "it").preprocessing_source == "guess"
    stated = {"image_processor_type": "ViTImageProcessor", "image_mean": [0.1, 0.2, 0.3]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stated))
    found = read_folder(tmp_path, "it")
    assert found.preprocessing_source == "file"
    assert found.preprocessing.mean == (0.1, 0.2, 0.3)
    elsewhere = tmp_path / "mine.json"
    elsewhere.write_text(json.dumps({"image_processor": stated | {"image_std": 0.25}}))
    chosen = read_folder(tmp_path, "it", preprocessing=str(elsewhere))
    assert (chosen.preprocessing_source, chosen.preprocessing.std) == ("option", (0.25,) * 3)
    with pytest.raises(NotFoundError, match="no preprocessing 'vitt'.*did you mean 'vit'"):
        read_folder(tmp_path, "it", preprocessing="vitt")


def test_the_terminal_says_that_it_guesses(tmp_path, photo_file, run):
    tutorial(tmp_path, patch_size=16, img_size=224)
    weights = tmp_path / "flowers.pth"
    status, out, err = run("explain", photo_file, "--checkpoint", weights, "--json")
    assert (status, json.loads(out)["preprocessing_source"]) == (0, "guess")
    words = "shorter side 256 (bilinear), center 224 × 224, mean 0.5, std 0.5"
    assert err.startswith("Guessed: ")
    assert words in err
    status, out, err = run(
        "explain", photo_file, "--checkpoint", weights, "--preprocessing", "swin"
    )
    assert status == 0
    assert "as you asked: shorter side 256 (bilinear), center 224 × 224, mean 0.485 0.456" in err


def test_names_are_found_beside_the_folder_of_the_weights_and_by_an_option(
    tmp_path, photo_file, run
):
    """The tutorial writes them where training was started, and the weights one folder below."""
    (tmp_path / "weights").mkdir()
    tutorial(tmp_path)
    weights = (tmp_path / "flowers.pth").rename(tmp_path / "weights" / "model-9.pth")
    assert load(str(weights)).labels == LABELS
    mine = tmp_path / "mine.txt"
    mine.write_text("\n".join(reversed(LABELS)), encoding="utf-8")
    assert load(str(weights), classes=mine).labels == LABELS[::-1]
    status, out, _ = run(
        "explain", photo_file, "--checkpoint", weights, "--classes", mine, "--json", "--top", 9
    )
    named = {each["index"]: each["label"] for each in json.loads(out)["predictions"]}
    assert (status, named) == (0, dict(enumerate(LABELS[::-1])))


@pytest.mark.parametrize("key", [*STATE_DICTS, *AVERAGED_DICTS])
def test_a_training_scripts_wrapping_is_taken_off(tmp_path, key):
    model = tutorial(tmp_path)
    torch.save({key: model.state_dict(), "epoch": 3}, tmp_path / "flowers.pth")
    assert build(read_folder(tmp_path, "it"), "it").labels == LABELS


def test_what_training_in_parallel_puts_before_every_name_is_taken_off(tmp_path):
    model = tutorial(tmp_path)
    torch.save(
        {"model": {f"module.{name}": tensor for name, tensor in model.state_dict().items()}},
        tmp_path / "flowers.pth",
    )
    pixels = torch.randn(2, 3, 32, 32)
    ours = load(str(tmp_path / "flowers.pth")).model
    oracles.assert_same_logits(oracles.logits_of(ours, pixels), oracles.logits_of(model, pixels))


def test_every_width_that_is_read_has_one_number_of_heads_at_timm():
    """Of the ViTs that a bare file could hold; one block each, and no memory."""
    from vit_demo.checkpoints.families.vit import _heads

    # Refused by a tensor or by what is missing, and blocks of another kind.
    others = re.compile("aimv2|.*_clip_|.*_siglip|.*_gap_224|beit3|.*_xp_|.*18x2|.*wee_")
    plain = [
        n
        for n in coverage_of_timm.names()
        if coverage_of_timm.module_of(n) in coverage_of_timm.PLAIN
    ]
    names = [name for name in plain if re.match("vit_|deit", name)]
    found = {heads_of(name) for name in names if not others.match(name)}
    known = {(width, heads) for width, heads in found if width in tutorials.WIDTHS}
    assert known == {(width, _heads("vit", {}, {}, width, "it")) for width in tutorials.WIDTHS}


def heads_of(name):
    with torch.device("meta"):
        model = oracles.timm().create_model(name, depth=1, weight_init="skip")
    return model.embed_dim, model.blocks[0].attn.num_heads


@pytest.mark.parametrize("width", [128, 256, 1536])
def test_a_width_whose_heads_would_be_a_guess_is_refused(tmp_path, width):
    tutorial(tmp_path, embed_dim=width, num_heads=8, depth=1)
    with pytest.raises(
        UnsupportedError, match=f"a ViT {width} wide.*no number of heads.*config.json"
    ):
        read_folder(tmp_path, "it")


def test_normalised_queries_show_the_heads_of_any_width(tmp_path):
    model = tutorial(tmp_path, embed_dim=128, num_heads=8, qk_norm=True)
    pixels = torch.randn(2, 3, 32, 32)
    ours = load(str(tmp_path)).model
    oracles.assert_same_logits(oracles.logits_of(ours, pixels), oracles.logits_of(model, pixels))


@pytest.mark.parametrize(
    ("name", "family"),
    [("vit_base_patch32_clip_quickgelu_224", "CLIP"), ("aimv2_large_patch14_224", "AIMv2")],
)
def test_what_only_a_name_tells_is_refused(tmp_path, name, family):
    tutorial(tmp_path, name)
    with pytest.raises(UnsupportedError, match=f"as {family} has.*config.json"):
        read_folder(tmp_path, "it")


@pytest.mark.parametrize("name", ["vit_base_patch16_gap_224", "vit_base_patch16_siglip_gap_224"])
def test_tokens_without_a_class_or_a_norm_behind_are_refused(tmp_path, name):
    """The two differ in heads alone, 16 and 12, at the same width."""
    tutorial(tmp_path, name)
    with pytest.raises(UnsupportedError, match=r"neither a class token nor.*config.json"):
        read_folder(tmp_path, "it")


SWIN = {"depths": (1, 2), "num_heads": (2, 4), "embed_dim": 8, "num_classes": 5}


def swin(folder, name="swin_base_patch4_window12_384", **changes):
    model = oracles.timm().create_model(name, **{**SWIN, **changes})
    torch.save(oracles.randomise(model).state_dict(), folder / "swin.pth")
    return model


@pytest.mark.parametrize(
    ("name", "side"),
    [("swin_base_patch4_window12_384", 384), ("swin_tiny_patch4_window7_224", 224)],
)
def test_a_swins_windows_tell_the_size_of_its_photos(tmp_path, photo_file, name, side):
    model = swin(tmp_path, name)
    checkpoint = load(str(tmp_path))
    assert checkpoint.model.config.image_size == (side, side)
    pixels = checkpoint.preprocessing(read_photo(photo_file)).pixels
    assert pixels.shape == (1, 3, side, side)
    found = oracles.logits_of(checkpoint.model, pixels)
    oracles.assert_same_logits(found, oracles.logits_of(model, pixels))


def test_the_masks_of_shifted_windows_tell_it_of_any_swin(tmp_path):
    """64 = 4 · 4 windows of 4 · patches of 4, in every stage but the last of another size."""
    model = swin(tmp_path, img_size=64, window_size=4, depths=(2, 1))
    mask = {"layers.0.blocks.1.attn_mask": model.layers[0].blocks[1].attn_mask}
    torch.save(model.state_dict() | mask, tmp_path / "swin.pth")
    pixels = torch.randn(2, 3, 64, 64)
    ours = load(str(tmp_path)).model
    assert ours.config.image_size == (64, 64)
    oracles.assert_same_logits(oracles.logits_of(ours, pixels), oracles.logits_of(model, pixels))


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"img_size": 64, "window_size": 4}, r"\[4, 4\]"), ({"patch_size": 2}, "patches of 2")],
)
def test_other_windows_or_patches_are_refused(tmp_path, changes, what):
    swin(tmp_path, **changes)
    with pytest.raises(UnsupportedError, match=f"Swin with windows of .*{what}.*config.json"):
        read_folder(tmp_path, "it")


def test_without_names_classes_are_numbered(tmp_path):
    tutorial(tmp_path)
    (tmp_path / "class_indices.json").unlink()
    assert read_folder(tmp_path, "it").labels == tuple(f"class_{index}" for index in range(5))


def test_names_that_do_not_fit_the_head_are_refused(tmp_path):
    tutorial(tmp_path, num_classes=4)
    with pytest.raises(CheckpointError, match="numbers 5 classes and the model has 4"):
        read_folder(tmp_path, "it")


class Code:
    def __reduce__(self):
        return os.system, ("touch never",)


@pytest.mark.parametrize(
    "content", [{"head.weight": Code()}, [1, 2], {"epoch": 3}], ids=["code", "list", "number"]
)
def test_what_is_no_dictionary_of_tensors_is_never_opened(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "flowers.pth")
    with pytest.raises(CheckpointError, match="save model.state_dict"):
        read_folder(tmp_path / "flowers.pth", "it")
    assert not (tmp_path / "never").exists()


def test_tensors_of_no_family_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "flowers.pth")
    with pytest.raises(UnsupportedError, match="a .pth is read of ViT, DeiT, DINOv2 and Swin"):
        read_folder(tmp_path / "flowers.pth", "it")


def test_of_two_files_one_must_be_named(tmp_path):
    tutorial(tmp_path)
    torch.save({}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="flowers.pth, other.pth; name the one to read"):
        read_folder(tmp_path, "it")
    assert read_folder(tmp_path / "flowers.pth", "it").labels == LABELS


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "weights.onnx").write_bytes(b"")
    with pytest.raises(UnsupportedError, match="is a file; name the folder .* or a .pth file"):
        read_folder(tmp_path / "weights.onnx", "it")
