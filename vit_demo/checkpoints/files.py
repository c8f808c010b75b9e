"""Open the files of a checkpoint, or raise an error that says what is wrong with them."""

import json
import os
import pickle
import struct
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import safe_globals

from vit_demo.errors import CheckpointError

CONFIG, WEIGHTS, PROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
# Newer releases of transformers store the image processor in this file, under one key.
NESTED_PROCESSOR, IMAGE_PROCESSOR = "processor_config.json", "image_processor"
LABELS, PICKLE = "class_indices.json", "pytorch_model.bin"
# `finetune` writes this file beside a checkpoint, and the best epoch in this subfolder.
SUMMARY, BEST = "training.json", "best"

# Exceptions of torch.load on damaged or forged pickles, found by flipping and cutting bytes. None
# of our code runs inside torch.load, so none of our bugs is hidden.
PICKLE_DAMAGE = (
    *(OSError, EOFError, RuntimeError, MemoryError, pickle.UnpicklingError, struct.error),
    *(ValueError, TypeError, AttributeError, LookupError, AssertionError, OverflowError),
)

# Keys under which training scripts store the weights and their moving average.
STATE_DICTS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
AVERAGED_DICTS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")

# Training scripts store their options as this class, which only holds values, beside the weights.
# torch's list of safe classes is global to the process, so one file is opened at a time.
_options_of_scripts = Lock()


def read_json(path: Path, source: str) -> dict[str, Any]:
    """Read one JSON object from a file; raises CheckpointError if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # A lone surrogate, such as "\ud800", cannot be encoded in UTF-8.
        json.dumps(content, ensure_ascii=False).encode()
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{source} has no {path.name}; a checkpoint needs {CONFIG} and {WEIGHTS}."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        # Invalid UTF-8, invalid JSON, numbers with thousands of digits, or deeply nested brackets.
        raise CheckpointError(f"{source}: {path.name} cannot be read ({error}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{source}: {path.name} holds no JSON object; save it again.")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write one JSON object, indented, in UTF-8."""
    with replacing(path) as unfinished:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        unfinished.write_text(text + "\n", encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which then replaces it atomically.

    A reader always finds the complete old or the complete new file, even after an interruption.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    yield unfinished
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


def load_tensors(path: Path, source: str) -> dict[str, Tensor]:
    """Load the tensors of one safetensors file; raises CheckpointError if it cannot be read."""
    if not path.exists():
        raise CheckpointError(
            f"{source} has no {path.name}; save the checkpoint as safetensors, or, for a {PICKLE} "
            "whose author you trust, start with --allow-pickle."
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: a shape beyond 2**63
        raise damaged(path, source, error) from error


def damaged(path: Path, source: str, error: Exception) -> CheckpointError:
    """The error for a weights file that cannot be read."""
    return CheckpointError(
        f"{source}: {path.name} is damaged ({error}); download or save it again."
    )


def unpickle_tensors(path: Path, source: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Load the state dict of a pickle with torch's restricted unpickler, which runs no code.

    Training scripts nest the state dict in dictionaries beside the optimizer state. If a file holds
    the weights and their moving average, the average is used, as in timm, and a note says so.
    Raises CheckpointError if there is no state dict.
    """
    try:
        with _options_of_scripts, safe_globals([Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except PICKLE_DAMAGE as error:
        raise CheckpointError(
            f"{source}: {path.name} is damaged, or holds more than tensors, which is never "
            "opened; save model.state_dict() alone."
        ) from error
    notes: list[str] = []
    while isinstance(content, dict) and (key := _state_dict_key(content)):
        if key in AVERAGED_DICTS and (others := [name for name in STATE_DICTS if name in content]):
            notes.append(
                f"The file holds the weights ('{others[0]}') and their running mean ('{key}'); "
                "the mean is read, as timm does."
            )
        content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise CheckpointError(
            f"{source}: {path.name} is no dictionary of tensors; save model.state_dict() alone."
        )
    for name, tensor in content.items():
        if not _holds_every_value(tensor):
            raise CheckpointError(
                f"{source}: {name} in {path.name} is sparse, quantized, or without values of its "
                "own; save plain tensors, or the checkpoint as safetensors."
            )
    return dict(content), tuple(notes)


def _state_dict_key(content: Mapping[Any, Any]) -> str | None:
    """The key of the nested state dict, from the names that training scripts use."""
    names = (*AVERAGED_DICTS, *STATE_DICTS)
    return next((name for name in names if isinstance(content.get(name), dict)), None)


def _holds_every_value(tensor: Tensor) -> bool:
    """Whether every entry has a stored value: a small file can declare a huge tensor."""
    if tensor.is_nested or tensor.layout != torch.strided or tensor.is_quantized:
        return False
    if tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
