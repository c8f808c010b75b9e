"""The original libraries, as oracles: tiny random checkpoints that they write themselves."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

SHARED = Path(__file__).parents[2] / "shared"

# torchvision declares these with its compiled extension, which does not load beside a torch
# without CUDA; the declarations must live as long as the process.
_TORCHVISION = torch.library.Library("torchvision", "DEF")
for _operator in ("nms", "qnms"):
    _TORCHVISION.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def transformers() -> ModuleType:
    return importlib.import_module("transformers")


def timm() -> ModuleType:
    return importlib.import_module("timm")


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights large enough that every part shows in the logits, batch norm's statistics too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.dtype.is_floating_point:
                noise = torch.randn(tensor.shape, generator=generator)
                if name.endswith("running_var"):
                    tensor.copy_(noise.abs() + 0.5)
                elif tensor.ndim > 1 and not name.endswith("bias_table"):
                    tensor.copy_(noise / tensor[0].numel() ** 0.5)
                else:
                    tensor.copy_(0.2 * noise + float("norm" in name and name.endswith("weight")))
    return model.eval()


def save_timm(model: nn.Module, folder: Path, **model_args: Any) -> Path:
    """Write a checkpoint folder as timm itself does for the Hub."""
    hub = importlib.import_module("timm.models._hub")
    hub.save_for_hf(model, folder, model_args=model_args or None, safe_serialization=True)
    return folder


def logits_of(model: nn.Module, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        output = model(pixels)
    return getattr(output, "logits", output)


def assert_same_logits(ours: Tensor, theirs: Tensor) -> None:
    """1e-4 of the largest logit, or of one."""
    assert ours.shape == theirs.shape
    scale = max(1.0, theirs.abs().max().item())
    assert theirs.std() > 0.01 * scale, "logits that all look alike prove nothing"
    assert (ours - theirs).abs().max().item() <= 1e-4 * scale
