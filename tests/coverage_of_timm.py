"""Which of timm's architectures load here and answer as timm does: all of ten of its modules.

python tests/coverage_of_timm.py

Each is made by its name, with random weights and two blocks a stage, saved by timm itself,
and read from the files.
"""

import importlib
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oracles
import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

# Layers whose initialization can be skipped.
PLAIN = ("vision_transformer", "deit")
MODULES = (
    *PLAIN,
    *("beit", "cait", "eva", "mobilevit", "swin_transformer", "swin_transformer_v2"),
    *("vision_transformer_relpos", "vision_transformer_sam"),
)
CLASSES = 7
WANTED = 0.9


@dataclass(frozen=True)
class Outcome:
    """The result for one name: the relative difference of the logits, or a refusal."""

    name: str
    difference: float | None
    refusal: str

    @property
    def matches(self) -> bool:
        return self.difference is not None and self.difference <= 1e-4


def names() -> list[str]:
    """Every name that timm registers in these modules."""
    list_models = oracles.timm().list_models
    return [name for module in MODULES for name in list_models(module=module)]


def module_of(name: str) -> str:
    """The module of timm's that registers a name."""
    is_in = importlib.import_module("timm.models").is_model_in_modules
    return next(module for module in MODULES if is_in(name, (module,)))


def outcomes() -> Iterator[Outcome]:
    """Try all of them; names that stand for one and the same model of theirs share it."""
    for twins in _grouped(names()):
        with tempfile.TemporaryDirectory() as folder:
            yield from try_twins(twins, Path(folder))


def try_twins(twins: Mapping[str, str], folder: Path) -> Iterator[Outcome]:
    """Make and save one, then read it under each name that means it, and compare.

    Where a name is read with the configuration of the one before it, from the same tensors, our
    model is the same too, and so is its answer.
    """
    from vit_demo.checkpoints import read_folder
    from vit_demo.checkpoints.checkpoint import build
    from vit_demo.errors import DemoError

    first = next(iter(twins))
    theirs = oracles.randomise(_make(first))
    oracles.save_timm(theirs, folder)
    pixels = torch.randn(1, *_input_size(theirs), generator=torch.Generator().manual_seed(0))
    expected = oracles.logits_of(theirs, pixels)
    del theirs
    compared, difference = None, None
    for name, config_text in twins.items():
        (folder / "config.json").write_text(config_text)
        try:
            stored = read_folder(folder, name)
            if stored.config != compared:
                ours = build(stored, name).model
                difference = _difference(oracles.logits_of(ours, pixels), expected)
                compared = stored.config
        except DemoError as error:
            yield Outcome(name, None, " ".join(str(error).split()))
        else:
            yield Outcome(name, difference, "")


def _grouped(found: Iterable[str]) -> list[dict[str, str]]:
    """Names of equal models together, each with the config.json that timm writes for it."""
    save_config = importlib.import_module("timm.models._hub").save_config_for_hf
    groups: dict[Any, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.json")
        for name in found:
            model = _make(name)
            save_config(model, path)
            groups.setdefault(_identity(model), {})[name] = path.read_text()
    return list(groups.values())


def _make(name: str) -> nn.Module:
    """The timm model, without initialized weights."""
    with oracles.Uninitialised():
        return oracles.timm().create_model(name, num_classes=CLASSES, **_shrunk(name))


def _identity(model: nn.Module) -> Any:
    """What two models have in common that answer alike once their weights are equal.

    The kinds of their modules, all that these are set to, and the shapes of their tensors. Of a
    Swin or MobileViT the input size counts too, as those are tried at it.
    """
    settings = []
    for path, module in model.named_modules():
        told = {
            key: getattr(value, "__qualname__", None) or repr(value)
            for key, value in vars(module).items()
            if not key.startswith("_") and key not in ("pretrained_cfg", "default_cfg")
        }
        settings.append((path, type(module).__qualname__, tuple(sorted(told.items()))))
    shapes = tuple((name, tuple(t.shape)) for name, t in model.state_dict().items())
    return tuple(settings), shapes, _input_size(model)


def _shrunk(name: str) -> dict[str, Any]:
    """Two blocks a stage, and for ViTs a small rectangle; widths stay as the name has them."""
    if name.startswith("mobilevit"):
        return {}
    if name.startswith("swin"):
        return {"depths": (2, 2, 2, 2)}
    stated = re.search(r"patch(\d+)", name)
    patch_size = int(stated[1]) if stated else 16
    skips = importlib.import_module("timm.models").is_model_in_modules(name, PLAIN)
    no_values = {"weight_init": "skip"} if skips else {}
    # Heads that share keys and values are listed block by block.
    shared = {"num_kv_heads": (4, 2)} if name.endswith("_sapiens2") else {}
    size = (4 * patch_size, 5 * patch_size)
    return {"depth": 2, "img_size": size, **no_values, **shared}


def _input_size(model: Any) -> tuple[int, int, int]:
    """The pixels that the model was built for."""
    embedding = getattr(model, "patch_embed", None)
    if embedding is None:
        return tuple(model.pretrained_cfg["input_size"])
    return 3, *embedding.img_size


def _difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest logit, or to one."""
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1))


def main() -> int:
    """Print a line for every name and the share that matches; status 1 if it is too small."""
    found = []
    for outcome in outcomes():
        found.append(outcome)
        known = "" if outcome.difference is None else f"{outcome.difference:.1e}"
        mark = "=" if outcome.matches else "−"
        sys.stdout.write(f"{mark} {outcome.name:45} {known:8} {outcome.refusal}\n")
        sys.stdout.flush()
    for module in MODULES:
        own = [outcome for outcome in found if module_of(outcome.name) == module]
        matching = sum(outcome.matches for outcome in own)
        sys.stdout.write(f"{module}: {matching} of {len(own)}\n")
    share = sum(outcome.matches for outcome in found) / len(found)
    sys.stdout.write(f"{share:.1%} of {len(found)} names load and match\n")
    return int(share < WANTED)


if __name__ == "__main__":
    sys.exit(main())
