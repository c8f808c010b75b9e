"""Put stored tensors into a model, all or nothing."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vit_demo.errors import LISTED, CheckpointError, StateDictMismatchError

# What weights are stored as, and can be brought to float32.
FLOATS = {torch.float32, torch.float16, torch.bfloat16, torch.float64}
# No trained weight comes near; the square of one that is larger may be infinite.
LARGEST_WEIGHT = 1e12


def load_state_dict_strict(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load `tensors` into `model` in float32; everything is checked before anything is changed.

    Raises StateDictMismatchError, and leaves the model as it was, unless names and shapes agree
    exactly, and CheckpointError where the values are no numbers that a model can be made of.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    missing = sorted(wanted.keys() - found.keys())
    unexpected = sorted(found.keys() - wanted.keys())
    reshaped = {
        name: (wanted[name], found[name])
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name] != found[name]
    }
    if missing or unexpected or reshaped:
        raise StateDictMismatchError(source, missing, unexpected, reshaped)
    if kinds := {str(t.dtype) for t in tensors.values() if t.dtype not in FLOATS}:
        raise CheckpointError(
            f"{source} stores its weights as {', '.join(sorted(kinds))}, which is not read; save "
            "them as torch.float32 or torch.float16."
        )
    values = {name: tensor.float() for name, tensor in tensors.items()}
    if damaged := [name for name, tensor in values.items() if not _plausible(tensor)]:
        more = f" and {len(damaged) - LISTED} more" if len(damaged) > LISTED else ""
        raise CheckpointError(
            f"{source} has weights that are infinite, no numbers, or beyond {LARGEST_WEIGHT:g}: "
            f"{', '.join(damaged[:LISTED])}{more}; the file is damaged, so download or save it "
            "again."
        )
    model.load_state_dict(values, assign=True)


def _plausible(weights: Tensor) -> bool:
    """Whether all are numbers of a size that training leaves; one pass over them."""
    if not weights.numel():
        return True
    low, high = (float(end) for end in weights.aminmax())
    # Both are NaN where any weight is, and no comparison with NaN is true.
    return low >= -LARGEST_WEIGHT and high <= LARGEST_WEIGHT
