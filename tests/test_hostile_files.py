"""Whatever stands in a checkpoint's files, it is refused in words or answers with numbers."""

import json
import math
import random
import resource
import shutil

import hostile
import oracles
import pytest
import torch
from safetensors.torch import load_file, save_file

from vit_demo import explain, load
from vit_demo.errors import DemoError

# Of the thousands of changes to one checkpoint, so many are tried in one test.
SAMPLE = 60
# A tiny model needs a few megabytes; a size that is not refused in time needs gigabytes.
MEGABYTES = 600

TINY_VIT = {"embed_dim": 24, "depth": 2, "num_heads": 3, "patch_size": 8, "img_size": 32}
TINY_SWIN = {"embed_dim": 12, "depths": (1, 2), "num_heads": (2, 3), "img_size": 64}


def answers(folder, photo):
    """Whether a checkpoint answers; every exception but our own is the caller's to see."""
    try:
        analysis = explain(load(str(folder)), photo)
    except DemoError:
        return False
    assert analysis.logits.isfinite().all()
    assert analysis.heatmap.isfinite().all()
    assert sum(p.probability for p in analysis.predictions) == pytest.approx(1)
    return True


def try_every(folder, photo, sample):
    """How many of a sample of all changes are refused, and how many answer."""
    kept = {
        name: (folder / name).read_text() for name in hostile.JSON_FILES if (folder / name).exists()
    }
    every = list(hostile.mutations(folder))
    chosen = random.Random(0).sample(every, min(sample, len(every)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = {True: 0, False: 0}
    for name, place, value in chosen:
        changed = hostile.mutated(json.loads(kept[name]), place, value)
        (folder / name).write_text(json.dumps(changed), encoding="utf-8")
        try:
            counts[answers(folder, photo)] += 1
        except Exception as error:
            error.add_note(f"{name}: {'.'.join(map(str, place))} = {value!r}")
            raise
        finally:
            (folder / name).write_text(kept[name], encoding="utf-8")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES
    return counts


def copied(folder, tmp_path):
    """A copy that may be written to."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        shutil.copyfile(file, copy / file.name)
    return copy


@pytest.fixture
def folder_of(their_checkpoint, our_checkpoint, tmp_path):
    """A tiny checkpoint in one of the layouts, by name."""

    def make(name):
        if name == "ours":
            return our_checkpoint
        if name == "transformers":
            return copied(their_checkpoint(), tmp_path)
        sizes = TINY_SWIN if name.startswith("swin") else TINY_VIT
        model = oracles.timm().create_model(name, num_classes=5, **sizes)
        return oracles.save_timm(oracles.randomise(model), tmp_path / "timm", **sizes)

    return make


@pytest.mark.parametrize(
    "name",
    ["transformers", "vit_small_patch14_reg4_dinov2", "swin_tiny_patch4_window7_224"],
)
def test_a_changed_configuration_is_refused_or_answers(folder_of, noise_photo, name):
    folder, photo = folder_of(name), noise_photo(101, 67)
    assert answers(folder, photo)
    counts = try_every(folder, photo, SAMPLE)
    assert min(counts.values()) > SAMPLE / 10


SHARED = sorted(path for path in (oracles.SHARED / "layouts").glob("*") if path.is_dir())


@pytest.mark.shared
@pytest.mark.parametrize("folder", SHARED, ids=lambda folder: folder.name)
def test_a_changed_configuration_of_a_stored_layout_is_refused_or_answers(
    folder, tmp_path, noise_photo
):
    copy = copied(folder, tmp_path)
    stored = {file.name for file in folder.iterdir()}
    if "preprocessor_config.json" not in stored and folder.name.startswith("hf"):
        size = {"height": 32, "width": 32}
        (copy / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    photo = noise_photo(40, 32)
    assert sum(try_every(copy, photo, SAMPLE // 5).values()) > 0


def changed_tensors(tensor):
    """A tensor's place taken by others, by what is wrong with them."""
    damaged = {str(value): torch.full_like(tensor, value) for value in (math.nan, -math.inf, 1e30)}
    return damaged | {
        "no dimensions": torch.tensor(1.0),
        "no entries": torch.zeros(0, *tensor.shape[1:]),
        "another dimension": tensor[None].clone(),
        "whole numbers": tensor.long(),
        "complex": tensor.to(torch.complex64),
        "too large for 32 bits": torch.full_like(tensor, 1e300, dtype=torch.float64),
    }


@pytest.mark.parametrize("name", ["ours", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_a_changed_tensor_is_refused(folder_of, noise_photo, name):
    folder, photo = folder_of(name), noise_photo(101, 67)
    tensors = load_file(folder / "model.safetensors")
    biases = [name for name in tensors if name.endswith("bias")][:2]
    for chosen in [*list(tensors)[:8], *biases]:
        for what, other in changed_tensors(tensors[chosen]).items():
            save_file({**tensors, chosen: other}, folder / "model.safetensors")
            assert not answers(folder, photo), f"{chosen}: {what}"


@pytest.mark.parametrize(
    "name", ["layers.99999999999.blocks.0.norm1.bias", f"layers.{'9' * 5000}.downsample.norm.bias"]
)
def test_a_name_that_counts_to_no_end_is_refused(folder_of, noise_photo, name):
    folder = folder_of("swin_tiny_patch4_window7_224")
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, name: torch.zeros(1)}, folder / "model.safetensors")
    assert not answers(folder, noise_photo(40, 40))


TENSORS = {
    "a value for 10¹² entries": torch.zeros(1).expand(10**6, 10**6),
    "sparse": torch.eye(3).to_sparse(),
    "no memory": torch.zeros(3, device="meta"),
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_a_pickled_tensor_without_its_values_is_refused(tmp_path, tensor):
    path = tmp_path / "flowers.pth"
    torch.save({"head.weight": tensor}, path)
    with pytest.raises(DemoError, match="head.weight in flowers.pth is sparse, quantized, or"):
        load(str(path))


@pytest.mark.filterwarnings("ignore")  # of another protocol, by torch
def test_a_damaged_pickle_is_refused_whatever_byte_is_wrong(tmp_path):
    path, draw = tmp_path / "flowers.pth", random.Random(0)
    torch.save(
        {"a": torch.zeros(2), "b": torch.zeros(3)}, path, _use_new_zipfile_serialization=False
    )
    whole = path.read_bytes()
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] = draw.randrange(256)
        path.write_bytes(damaged)
        with pytest.raises(DemoError):
            load(str(path))


def test_half_a_character_in_a_label_is_refused(our_checkpoint):
    """It could be shown and written nowhere."""
    path = our_checkpoint / "config.json"
    path.write_text(path.read_text().replace("daisy", "\\ud800"))
    with pytest.raises(DemoError, match=r"config.json cannot be read"):
        load(str(our_checkpoint))
