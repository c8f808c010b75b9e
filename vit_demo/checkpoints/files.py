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
# Newer releases of transformers keep the image processor in here, under one key.
NESTED_PROCESSOR, IMAGE_PROCESSOR = "processor_config.json", "image_processor"
LABELS, PICKLE = "class_indices.json", "pytorch_model.bin"
# What `finetune` writes beside a checkpoint, and the folder of the best epoch below it.
SUMMARY, BEST = "training.json", "best"

# What torch's reader raises on pickles that are damaged or made up, as seen with bytes flipped and
# cut off; nothing of ours runs inside it.
PICKLE_DAMAGE = (
    *(OSError, EOFError, RuntimeError, MemoryError, pickle.UnpicklingError, struct.error),
    *(ValueError, TypeError, AttributeError, LookupError, AssertionError, OverflowError),
)

# Under which names training scripts keep the weights, and a running mean of them.
STATE_DICTS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
AVERAGED_DICTS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")

# A training script's options lie beside its weights as this class, which only holds values. torch
# keeps what may be read for the whole process, so one file is opened at a time.
_options_of_scripts = Lock()


def read_json(path: Path, source: str) -> dict[str, Any]:
    """One JSON object from a file; raises CheckpointError when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # Half a character, as in "\ud800", can be written nowhere.
        json.dumps(content, ensure_ascii=False).encode()
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{source} has no {path.name}; a checkpoint needs {CONFIG} and {WEIGHTS}."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        # Bad UTF-8, bad JSON, numbers of thousands of digits, brackets nested without end.
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
    """A file to write beside `path`, which takes its place once it is whole and on the disk.

    A reader finds the old file or the new one, never half of either, also after an interruption.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    yield unfinished
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


def load_tensors(path: Path, source: str) -> dict[str, Tensor]:
    """The tensors of one safetensors file; raises CheckpointError when it cannot be read."""
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
    """The refusal of a file of weights that cannot be read."""
    return CheckpointError(
        f"{source}: {path.name} is damaged ({error}); download or save it again."
    )


def unpickle_tensors(path: Path, source: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state dict in a pickle, read by torch's restricted reader, which runs no code.

    Training scripts put it into dictionaries, in any nesting, beside the state of an optimizer. Of
    the weights and their running mean, the mean is taken, as timm does; then a sentence says so.
    Raises CheckpointError without a state dict.
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
    while isinstance(content, dict) and (held := _held(content)):
        if held in AVERAGED_DICTS and (others := [name for name in STATE_DICTS if name in content]):
            notes.append(
                f"The file holds the weights ('{others[0]}') and their running mean ('{held}'); "
                "the mean is read, as timm does."
            )
        content = content[held]
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


def _held(content: Mapping[Any, Any]) -> str | None:
    """The key of the state dict inside a dictionary, by the names that training scripts use."""
    names = (*AVERAGED_DICTS, *STATE_DICTS)
    return next((name for name in names if isinstance(content.get(name), dict)), None)


def _holds_every_value(tensor: Tensor) -> bool:
    """Whether a value is stored for every entry: a few bytes can claim to be an endless tensor."""
    if tensor.is_nested or tensor.layout != torch.strided or tensor.is_quantized:
        return False
    if tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
