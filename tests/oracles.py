"""The original libraries as oracles: they write tiny random checkpoints themselves."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

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


class Uninitialised(TorchFunctionMode):
    """Create models without initializing their weights, which `randomise` replaces."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights large enough that every part, also batch norm statistics, affects the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.dtype.is_floating_point:
                noise = torch.randn(tensor.shape, generator=generator)
                if name.endswith("running_var"):
                    tensor.copy_(noise.abs() + 0.5)
                elif tensor.ndim > 1 and not name.endswith("bias_table"):
                    # SiLU halves what passes between convolutions.
                    gain = 1.4 if tensor.ndim == 4 else 1.0
                    tensor.copy_(gain * noise / tensor[0].numel() ** 0.5)
                else:
                    scales = name.endswith("weight") and ("norm" in name or ".bn." in name)
                    tensor.copy_(0.2 * noise + float(scales))
    return model.eval()


def save_timm(model: nn.Module, folder: Path, **model_args: Any) -> Path:
    """Write a checkpoint folder as timm itself does for the Hub."""
    hub = importlib.import_module("timm.models._hub")
    hub.save_for_hf(model, folder, model_args=model_args or None, safe_serialization=True)
    return folder


def photos(count: int, channels: int, height: int, width: int) -> Tensor:
    """Noise with a different color per photo; the spatial means of plain noise are equal."""
    colours = 3 * torch.randn(count, channels, 1, 1)
    return colours + torch.randn(count, channels, height, width)


def logits_of(model: nn.Module, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        output = model(pixels)
    return getattr(output, "logits", output)


def assert_same_logits(ours: Tensor, theirs: Tensor) -> None:
    """The tolerance: 1e-4 of the largest logit, or of one."""
    assert ours.shape == theirs.shape
    scale = max(1.0, theirs.abs().max().item())
    assert theirs.std() > 0.01 * scale, "logits that all look alike prove nothing"
    if len(theirs) > 1:
        assert (theirs[0] - theirs[1]).abs().max() > 0.01 * scale, "nor photos that do"
    assert (ours - theirs).abs().max().item() <= 1e-4 * scale


@contextmanager
def spelled_out_attention() -> Iterator[list[Tensor]]:
    """Compute attention without the fused kernel; the list collects the weights, in the graph."""
    fused = functional.scaled_dot_product_attention
    formed: list[Tensor] = []

    def spelled_out(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        scale: float | None = None,
    ) -> Tensor:
        assert dropout_p == 0
        scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        weights = (scores if attn_mask is None else scores + attn_mask).softmax(dim=-1)
        formed.append(weights if weights.requires_grad else weights.requires_grad_())
        return formed[-1] @ value

    functional.scaled_dot_product_attention = spelled_out
    try:
        yield formed
    finally:
        functional.scaled_dot_product_attention = fused
