"""Swin: the libraries' own numbers, and flows whose support is the Jacobian's."""

from pathlib import Path
from typing import Any

import oracles
import pytest
import torch

from vit_demo.checkpoints import transformers
from vit_demo.checkpoints.files import load_tensors, read_json
from vit_demo.checkpoints.fit import fit
from vit_demo.checkpoints.timm import swin as timm_swin
from vit_demo.models import build
from vit_demo.models.swin import Swin

TINY = {"embed_dim": 16, "depths": (2, 2, 2), "num_heads": (2, 4, 8)}


def read_transformers(folder: Path) -> Swin:
    stored = transformers.read(folder, "tiny")
    model = build(stored.config)
    fit(model, stored.tensors, "tiny")
    return model.eval()


def read_timm(folder: Path) -> Swin:
    tensors = timm_swin.our_names(load_tensors(folder / "model.safetensors", "tiny"))
    config = timm_swin.read_config(read_json(folder / "config.json", "tiny"), tensors, "tiny")
    model = Swin(config)
    fit(model, tensors, "tiny")
    return model.eval()


def their_transformers(folder: Path, **changes: Any) -> torch.nn.Module:
    library = oracles.transformers()
    config = library.SwinConfig(**{**TINY, "image_size": 64, "window_size": 4, **changes})
    config.num_labels = 5
    model = oracles.randomise(library.SwinForImageClassification(config))
    model.save_pretrained(folder)
    return model


def their_timm(folder: Path, **changes: Any) -> torch.nn.Module:
    arguments = {**TINY, "img_size": (64, 64), "window_size": 4, "num_classes": 5, **changes}
    model = oracles.timm().create_model("swin_tiny_patch4_window7_224", **arguments)
    oracles.randomise(model)
    del arguments["num_classes"]
    oracles.save_timm(model, folder, **arguments)
    return model


SIZES = [(64, 64), (68, 68), (100, 60), (84, 132), (75, 91)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", [4, 3])
def test_logits_are_those_of_transformers(tmp_path, size, window):
    # A fresh oracle for every size: one pass at another changes its later logits.
    theirs = their_transformers(tmp_path, window_size=window)
    pixels = torch.randn(2, 3, *size)
    ours = oracles.logits_of(read_transformers(tmp_path), pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(theirs, pixels))


@pytest.mark.parametrize("size", [(64, 64), (68, 68), (100, 60), (84, 132), (8, 40)])
@pytest.mark.parametrize("window", [4, (3, 5)])
def test_logits_are_those_of_timm(tmp_path, size, window):
    theirs = their_timm(tmp_path, img_size=size, window_size=window)
    pixels = torch.randn(2, 3, *size)
    ours = oracles.logits_of(read_timm(tmp_path), pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(theirs, pixels))


@pytest.mark.parametrize("size", [(68, 68), (100, 60), (24, 132)])
def test_logits_are_those_of_timm_at_other_sizes_than_its_own(tmp_path, size):
    theirs = their_timm(tmp_path, strict_img_size=False)
    pixels = torch.randn(2, 3, *size)
    ours = oracles.logits_of(read_timm(tmp_path), pixels)
    oracles.assert_same_logits(ours, oracles.logits_of(theirs, pixels))
