"""Put stored tensors into a model, all or nothing."""

from collections.abc import Mapping

from torch import Tensor, nn

from vit_demo.errors import MisfitError


def fit(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load `tensors` into `model` in float32; everything is checked before anything is changed.

    Raises MisfitError, and leaves the model as it was, unless names and shapes agree exactly.
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
        raise MisfitError(source, missing, unexpected, reshaped)
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
