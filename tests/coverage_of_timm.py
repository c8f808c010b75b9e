"""Which of timm's architectures load here and answer as timm does: all of four of its modules.

python tests/coverage_of_timm.py

Each is made afresh by its name, with random weights and two blocks a stage, saved by timm itself,
and read from the files.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oracles
import torch
from torch import Tensor

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

MODULES = ("vision_transformer", "deit", "swin_transformer", "mobilevit")
CLASSES = 7
WANTED = 0.9


@dataclass(frozen=True)
class Outcome:
    """What became of one name: a difference in logits, relative to them, or a refusal."""

    name: str
    difference: float | None
    refusal: str

    @property
    def matches(self) -> bool:
        return self.difference is not None and self.difference <= 1e-4


def names() -> list[str]:
    """Every name that timm registers in the four modules; of MobileViT version 1 only."""
    list_models = oracles.timm().list_models
    found = [name for module in MODULES for name in list_models(module=module)]
    return [name for name in found if not name.startswith("mobilevitv2")]


def outcomes() -> Iterator[Outcome]:
    """Try all of them, one after another."""
    for name in names():
        with tempfile.TemporaryDirectory() as folder:
            yield try_one(name, Path(folder))


def try_one(name: str, folder: Path) -> Outcome:
    """Make, save, read and compare one."""
    from vit_demo.checkpoints import read_folder
    from vit_demo.checkpoints.checkpoint import build
    from vit_demo.errors import DemoError

    theirs = oracles.timm().create_model(name, num_classes=CLASSES, **_shrunk(name))
    oracles.randomise(theirs)
    oracles.save_timm(theirs, folder)
    pixels = torch.randn(1, *_input_size(theirs), generator=torch.Generator().manual_seed(0))
    expected = oracles.logits_of(theirs, pixels)
    del theirs
    try:
        ours = build(read_folder(folder, name), name).model
    except DemoError as error:
        return Outcome(name, None, " ".join(str(error).split()))
    return Outcome(name, _difference(oracles.logits_of(ours, pixels), expected), "")


def _shrunk(name: str) -> dict[str, Any]:
    """Two blocks a stage, and for ViTs a small rectangle; widths stay as the name has them."""
    if name.startswith("mobilevit"):
        return {}
    if name.startswith("swin"):
        return {"depths": (2, 2, 2, 2)}
    stated = re.search(r"patch(\d+)", name)
    patch_size = int(stated[1]) if stated else 16
    return {"depth": 2, "img_size": (4 * patch_size, 5 * patch_size), "weight_init": "skip"}


def _input_size(model: Any) -> tuple[int, int, int]:
    """The pixels that the model was built for."""
    embedding = getattr(model, "patch_embed", None)
    if embedding is None:
        return tuple(model.pretrained_cfg["input_size"])
    return 3, *embedding.img_size


def _difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, in parts of the largest logit, or of one."""
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1))


def main() -> int:
    """Print a line for every name, and the share that matches; status 1 where it is too small."""
    found = []
    for outcome in outcomes():
        found.append(outcome)
        known = "" if outcome.difference is None else f"{outcome.difference:.1e}"
        mark = "=" if outcome.matches else "−"
        sys.stdout.write(f"{mark} {outcome.name:45} {known:8} {outcome.refusal}\n")
        sys.stdout.flush()
    share = sum(outcome.matches for outcome in found) / len(found)
    sys.stdout.write(f"{share:.1%} of {len(found)} names load and match\n")
    return int(share < WANTED)


if __name__ == "__main__":
    sys.exit(main())
