"""DINOv3 as transformers writes it: the library has no classifier, so heads are put on by hand."""

import json

import oracles
import pytest
import torch
from safetensors.torch import load_file, save_file

from vit_demo.checkpoints import read_folder
from vit_demo.checkpoints.checkpoint import build
from vit_demo.errors import UnsupportedError
from vit_demo.explanations.traced_pass import run_with_trace
from vit_demo.photo import read_photo

TINY = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "patch_size": 8,
    "image_size": 32,
    "layer_norm_eps": 0.1,
}
CONFIGURATIONS = {
    "registers": {"num_register_tokens": 2},
    "no registers, all biases, another base": {"key_bias": True, "rope_theta": 10.0},
    "a gate, a rectangle, few biases": {
        "use_gated_mlp": True,
        "hidden_act": "silu",
        "image_size": (24, 40),
        "query_bias": False,
        "proj_bias": False,
        "mlp_bias": False,
    },
}


def write(folder, head_width, options):
    """The library's own model and processor, and a classifier beside its tensors."""
    library = oracles.transformers()
    model = library.DINOv3ViTModel(library.DINOv3ViTConfig(**{**TINY, **options}))
    oracles.randomise(model).save_pretrained(folder)
    head = torch.nn.Linear(head_width, 5)
    path = folder / "model.safetensors"
    extra = {"classifier.weight": head.weight.detach(), "classifier.bias": head.bias.detach()}
    save_file({**load_file(path), **extra}, path)
    config = json.loads((folder / "config.json").read_text())
    labels = {str(index): f"flower {index}" for index in range(5)}
    (folder / "config.json").write_text(json.dumps(config | {"id2label": labels}))
    processor = {
        "image_processor_type": "DINOv3ViTImageProcessorFast",
        "size": dict(zip(("height", "width"), _size(model.config), strict=True)),
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model, head


def _size(config):
    side = config.image_size
    return (side, side) if isinstance(side, int) else side


@pytest.mark.parametrize("reads", ["class token", "class token and mean"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_from_photo_to_logits_as_the_library(tmp_path, noise_photo, name, reads):
    width = TINY["hidden_size"] * (1 if reads == "class token" else 2)
    model, head = write(tmp_path, width, CONFIGURATIONS[name])
    library = oracles.transformers()
    processor = library.AutoImageProcessor.from_pretrained(tmp_path)
    stored = read_folder(tmp_path, "tiny")
    checkpoint = build(stored, "tiny")
    prefix = 1 + CONFIGURATIONS[name].get("num_register_tokens", 0)
    for size in ((101, 67), (33, 250)):
        path = tmp_path / "photo.png"
        noise_photo(*size).save(path)
        pixels = stored.preprocessing(read_photo(path)).pixels
        photo = library.image_utils.load_image(str(path))
        expected = processor(photo, return_tensors="pt").pixel_values
        torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-5)
        with torch.inference_mode():
            tokens = model(expected).last_hidden_state
            parts = [tokens[:, 0], tokens[:, prefix:].mean(dim=1)]
            wanted = head(torch.cat(parts, dim=1)[:, :width])
        oracles.assert_same_logits(oracles.logits_of(checkpoint.model, pixels), wanted)


@pytest.mark.parametrize("size", [(48, 24), (16, 64), (96, 96)])
def test_other_sizes_turn_by_other_angles_as_in_the_library(tmp_path, size):
    model, head = write(tmp_path, TINY["hidden_size"], {"num_register_tokens": 2})
    checkpoint = build(read_folder(tmp_path, "tiny"), "tiny")
    pixels = torch.randn(2, 3, *size)
    with torch.inference_mode():
        expected = head(model(pixels).pooler_output)
    oracles.assert_same_logits(oracles.logits_of(checkpoint.model, pixels), expected)


def test_attention_weights_are_the_librarys(tmp_path):
    write(tmp_path, TINY["hidden_size"], {"num_register_tokens": 2})
    kind = oracles.transformers().DINOv3ViTModel
    model = kind.from_pretrained(tmp_path, attn_implementation="eager").eval()
    checkpoint = build(read_folder(tmp_path, "tiny"), "tiny")
    pixels = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        expected = model(pixels, output_attentions=True).attentions
    layers = run_with_trace(checkpoint.model, pixels).trace.layers
    for layer, theirs in zip(layers, expected, strict=True):
        torch.testing.assert_close(layer.weights(), theirs, rtol=1e-4, atol=1e-5)


def test_a_backbone_is_read_for_fine_tuning(tmp_path):
    library = oracles.transformers()
    library.DINOv3ViTModel(library.DINOv3ViTConfig(**TINY)).save_pretrained(tmp_path)
    stored = read_folder(tmp_path, "tiny")
    assert not stored.has_head
    with pytest.raises(UnsupportedError, match="backbone without a classification head"):
        build(stored, "tiny")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"use_gated_mlp": True, "hidden_act": "gelu"}, "activation 'gelu'"),
        ({"mlp_bias": False}, "only one of proj_bias and mlp_bias"),
    ],
)
def test_options_that_are_not_read_are_refused(tmp_path, changes, reason):
    write(tmp_path, TINY["hidden_size"], {})
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UnsupportedError, match=reason):
        read_folder(tmp_path, "tiny")
