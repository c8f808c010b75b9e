"""Open the files that checkpoints are made of, or say in one sentence what is wrong with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vit_demo.errors import CheckpointError

CONFIG, WEIGHTS, PROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"


def read_json(path: Path, source: str) -> dict[str, Any]:
    """One JSON object from a file; raises CheckpointError when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{source} has no {path.name}; a checkpoint needs {CONFIG} and {WEIGHTS}."
        ) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{source}: {path.name} cannot be read ({error}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{source}: {path.name} holds no JSON object; save it again.")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write one JSON object, indented, in UTF-8."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_tensors(path: Path, source: str) -> dict[str, Tensor]:
    """The tensors of one safetensors file; raises CheckpointError when it cannot be read."""
    if not path.exists():
        raise CheckpointError(
            f"{source} has no {path.name}; pickled weights (.bin) are not opened, "
            "so save the checkpoint as safetensors."
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{source}: {path.name} is damaged ({error}); download or save it again."
        ) from error
