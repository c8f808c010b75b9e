"""Fixtures: tiny models with random weights, photos of odd sizes, checkpoints on disk.

`vit_demo` is imported inside the fixtures: at the top of this file it would be loaded before
jaxtyping's import hook, and its annotations would go unchecked.
"""

import gc
import sys

import numpy as np
import oracles
import pytest
import torch
from PIL import Image

pytest_plugins = ["hub_driver"]

SHARED = oracles.SHARED
LABELS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def collected():
    """Collect objects that Gradio left unclosed here, not during another module's test."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def shared():
    """The folder of real photos and checkpoints, which is not in the repository."""
    if not SHARED.is_dir():
        pytest.skip("there is no shared folder beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def tiny_config():
    from vit_demo.models.vit import ViTConfig

    return ViTConfig(5, width=24, depth=3, heads=3, mlp_width=40, patch_size=8, image_size=(32, 32))


@pytest.fixture(scope="session")
def make_model():
    """Build a model with random weights, so that heads differ and attention is peaked."""
    from vit_demo.models.vit import VisionTransformer

    def make(config, seed=0):
        generator = torch.Generator().manual_seed(seed)
        model = VisionTransformer(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                spread = 1.0 if name.endswith(("qkv.weight", "_token", "pos_embed")) else 0.3
                parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
        return model

    return make


@pytest.fixture
def tiny_model(tiny_config, make_model):
    return make_model(tiny_config)


@pytest.fixture(scope="session")
def noise_photo():
    """A photo of colored blobs: (width, height) → RGB."""

    def make(width, height, seed=0):
        random = np.random.default_rng(seed)
        blobs = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        smooth = Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC)
        grain = random.integers(-20, 21, (height, width, 3))
        return Image.fromarray((np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8))

    return make


@pytest.fixture
def photo_file(tmp_path, noise_photo):
    """A PNG file whose sides are not multiples of any patch size."""
    path = tmp_path / "photo.png"
    noise_photo(101, 67).save(path)
    return path


@pytest.fixture
def three_classes(tmp_path):
    """Three classes of 20, 10 and 3 photos, one of them a folder deeper, and things to ignore."""
    for label, count in (("tulips", 20), ("daisy", 10), ("roses", 3)):
        for number in range(count):
            deeper = tmp_path / label / "more" if number == 0 else tmp_path / label
            deeper.mkdir(parents=True, exist_ok=True)
            colour = (10 * number, 20, 30)
            suffix = "JPG" if number == 1 else "png"
            kind = "JPEG" if number == 1 else "PNG"
            Image.new("RGB", (12, 9), colour).save(deeper / f"{number:02}.{suffix}", kind)
    (tmp_path / "tulips" / "notes.txt").write_text("no photo", encoding="utf-8")
    (tmp_path / "LICENSE.txt").write_text("no class", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.fixture
def our_checkpoint(tmp_path, tiny_config, tiny_model):
    """A tiny checkpoint in the transformers layout, written by this package."""
    from vit_demo.checkpoints import hf_format
    from vit_demo.preprocess import Preprocessing

    folder = tmp_path / "ours"
    hf_format.write(
        folder,
        tiny_config,
        tiny_model.state_dict(),
        LABELS,
        Preprocessing(resize=(32, 32)),
        torch.float32,
    )
    return folder


@pytest.fixture(scope="session")
def their_checkpoint(tmp_path_factory):
    """Write a tiny checkpoint with the transformers library: (configuration changes) → folder.

    Layer-norm eps is large, so that reading it wrongly shows.
    """
    import transformers

    def write(family="vit", **changes):
        sizes = {
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "patch_size": 8,
            "image_size": 32,
            "layer_norm_eps": 0.1,
            "id2label": dict(enumerate(LABELS)),
            "label2id": {label: index for index, label in enumerate(LABELS)},
        }
        if family == "vit":
            config = transformers.ViTConfig(**{**sizes, "intermediate_size": 40, **changes})
            model = transformers.ViTForImageClassification(config)
        else:
            config = transformers.Dinov2Config(**{**sizes, "mlp_ratio": 2, **changes})
            model = transformers.Dinov2Model(config)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
        folder = tmp_path_factory.mktemp("theirs")
        model.save_pretrained(folder)
        transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
        return folder

    return write


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: (status, stdout, stderr)."""
    from vit_demo.cli import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vit_demo", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def make_handlers(tmp_path):
    """The events of a page with its own uploads and results: (way to a checkpoint) → Handlers."""
    from vit_demo.checkpoints import CheckpointCache, load
    from vit_demo.ui.explorer.rows import Rows
    from vit_demo.ui.handlers import Handlers
    from vit_demo.ui.results import Results
    from vit_demo.ui.uploads import Uploads

    def make(get=None, results_bytes=10**9):
        folder = tmp_path / "uploads"
        folder.mkdir(exist_ok=True)
        get = get or CheckpointCache(lambda ref, progress: load(ref, progress), 10**9).get
        return Handlers(get, Uploads(folder), Results(results_bytes), Rows(results_bytes))

    return make


@pytest.fixture
def uploaded(tmp_path):
    """Upload a copy of a file to a page: (its handlers, the file) → the reference to it."""
    import shutil

    def upload(handlers, path):
        arriving = tmp_path / f"arriving-{path.name}"
        shutil.copy(path, arriving)
        return handlers.uploads.adopt([arriving])[0]

    return upload


def pytest_configure(config):
    """One thread per worker: two workers on two cores would compete for torch's threads."""
    if hasattr(config, "workerinput"):
        torch.set_num_threads(1)
