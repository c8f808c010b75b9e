"""Fine-tuning starts from every layout that is read; what is written answers as transformers."""

import oracles
import pytest
import torch
from PIL import Image

from vit_demo.checkpoints import load, read_folder
from vit_demo.errors import UnsupportedError
from vit_demo.models.vit import VisionTransformer
from vit_demo.training.adapt import adapt, as_plain
from vit_demo.training.plan import Plan
from vit_demo.training.recipe import Recipe
from vit_demo.training.run import Watcher, train

SIZES = {"embed_dim": 192, "num_heads": 3, "depth": 2, "patch_size": 8, "img_size": 32}
RECIPE = Recipe(
    head_epochs=0, epochs=1, batch_size=8, warm_up_steps=1, workers=0, bfloat16=False,
    ema_decay=0.5, patch_dropout=0.0, drop_path=0.0,
)  # fmt: skip


def timm_model(name="vit_tiny_patch16_224", **changes):
    arguments = {**SIZES, "num_classes": 5, **changes}
    return oracles.randomise(oracles.timm().create_model(name, **arguments))


def timm_folder(folder, name="vit_tiny_patch16_224", **changes):
    model = timm_model(name, **changes)
    return oracles.save_timm(model, folder / "start", img_size=32, num_heads=3)


def bare_file(folder, extra=(), **changes):
    """As the repositories save it, with a token of pre-training or without."""
    state = timm_model(**changes).state_dict()
    tokens = {name: torch.ones(1, 192) for name in extra}
    torch.save({**state, **tokens}, folder / "start.pth")
    return folder / "start.pth"


def dinov2_backbone(folder):
    """Names of its own repository: layer scale, a mask token, no head."""
    state = timm_model("vit_small_patch14_dinov2", num_classes=0).state_dict()
    torch.save({**state, "mask_token": torch.ones(1, 192)}, folder / "dinov2.pth")
    return folder / "dinov2.pth"


def transformers_folder(folder, kind="ViT", **changes):
    library = oracles.transformers()
    sizes = {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "patch_size": 8,
        "image_size": 32, **changes,
    }  # fmt: skip
    config = getattr(library, f"{kind}Config")(**sizes)
    name = f"{kind}Model" if kind == "Dinov2" else f"{kind}ForImageClassification"
    oracles.randomise(getattr(library, name)(config)).save_pretrained(folder / "start")
    return folder / "start"


STARTS = {
    "timm": timm_folder,
    "timm, no position for the class": lambda folder: timm_folder(folder, no_embed_class=True),
    "timm, a norm after pooling": lambda folder: timm_folder(folder, fc_norm=True),
    "timm, distilled": lambda folder: timm_folder(folder, "deit_tiny_distilled_patch16_224"),
    ".pth": bare_file,
    ".pth with a mask token": lambda folder: bare_file(folder, ["mask_token"]),
    "DINOv2's .pth": dinov2_backbone,
    "transformers": lambda folder: transformers_folder(folder, intermediate_size=40),
    "transformers, quick GELU": lambda folder: transformers_folder(folder, hidden_act="quick_gelu"),
    "transformers, DINOv2": lambda folder: transformers_folder(folder, "Dinov2", mlp_ratio=2),
    "transformers, DeiT": lambda folder: transformers_folder(folder, "DeiT"),
}
# Starts whose class token goes through the plain encoder as through their own.
SAME = [name for name in STARTS if "distilled" not in name and "DeiT" not in name]


@pytest.fixture
def photos(tmp_path):
    for label, color in (("blue", (40, 60, 200)), ("red", (200, 60, 40))):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(6):
            shade = tuple(part + number for part in color)
            path = tmp_path / "photos" / label / f"{number:02}.png"
            Image.new("RGB", (40, 30), shade).save(path)
    return tmp_path / "photos"


@pytest.mark.parametrize("name", STARTS)
def test_training_starts_writes_and_what_is_written_answers_as_transformers(
    tmp_path, photos, photo_file, name
):
    where = STARTS[name](tmp_path)
    start = read_folder(where, name)
    out = tmp_path / "out"
    plan = Plan(str(photos), str(where), RECIPE, image_size=24, patch_size=12, held_out=0.25)
    assert train(plan, start, out, Watcher()) is not None
    checkpoint = load(str(out))
    pixels = torch.randn(2, 3, 24, 24)
    library = oracles.transformers().AutoModelForImageClassification.from_pretrained(
        out, dtype=torch.float32
    )
    expected = oracles.logits_of(library.eval(), pixels)
    found = oracles.logits_of(checkpoint.model, pixels)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max().clamp(min=1)


@pytest.mark.parametrize("name", SAME)
def test_the_class_token_is_the_starts_own(tmp_path, name):
    """Whatever the start called its parts: the same token comes out of the plain encoder."""
    start = read_folder(STARTS[name](tmp_path), name)
    config = start.config
    source, plain = VisionTransformer(config).eval(), VisionTransformer(as_plain(config)).eval()
    source.load_state_dict({n: t.float() for n, t in start.tensors.items()}, strict=start.has_head)
    old = adapt(start.tensors, config, as_plain(config))
    heads = {n: t for n, t in plain.state_dict().items() if n.startswith("head")}
    plain.load_state_dict({**old, **heads})
    pixels = torch.randn(2, 3, 32, 32)
    tokens = []
    for model in (source, plain):
        found = model.embed(pixels)
        for block in model.blocks:
            found = block(found)
        tokens.append(model.fc_norm(model.norm(found)[:, 0]))
    torch.testing.assert_close(tokens[1], tokens[0], rtol=1e-4, atol=1e-4)


def test_registers_that_the_target_cannot_hold_are_refused_by_name(tmp_path, photos):
    path = tmp_path / "start.pth"
    state = timm_model("vit_small_patch14_dinov2", num_classes=0).state_dict()
    torch.save({**state, "register_tokens": torch.ones(1, 4, 192)}, path)
    start = read_folder(path, "it")
    assert start.config.registers == 4
    plan = Plan(str(photos), str(path), RECIPE, image_size=24, patch_size=12, held_out=0.25)
    with pytest.raises(UnsupportedError, match=r"special parts \(registers"):
        train(plan, start, tmp_path / "out", Watcher())
