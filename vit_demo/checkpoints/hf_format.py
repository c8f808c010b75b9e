"""The transformers layout: config.json, model.safetensors, preprocessor_config.json.

Only the files are read: the library itself is not needed, and no repository code is run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from vit_demo.checkpoints.calibration import KEY, Calibration, read_calibration
from vit_demo.checkpoints.checkpoint import ParsedCheckpoint
from vit_demo.checkpoints.families import of_model_type, vit
from vit_demo.checkpoints.files import (
    CONFIG,
    PROCESSOR,
    WEIGHTS,
    read_json,
    replacing,
    write_json,
)
from vit_demo.checkpoints.naming import check_colours
from vit_demo.checkpoints.problem import read_problem
from vit_demo.checkpoints.processor import (
    preprocessing_json,
    read_preprocessing,
    stored_processor,
)
from vit_demo.checkpoints.values import section, whole
from vit_demo.checkpoints.weights import open_weights
from vit_demo.errors import CheckpointError
from vit_demo.models.vit import ViTConfig
from vit_demo.preprocess import Preprocessing

LAYOUT = "transformers"


def read(folder: Path, source: str, allow_pickle: bool = False) -> ParsedCheckpoint:
    """Read the three files. `source` names the checkpoint in messages.

    Without preprocessor_config.json, the default processor of the family is assumed, which is a
    guess. Raises CheckpointError if a file is missing or damaged, UnsupportedError if the family or
    one of its options is not supported.
    """
    config_json = read_json(folder / CONFIG, source)
    model_type = check_family(config_json, source)
    family = of_model_type(model_type, source)
    labels = _labels(config_json, source)
    weights = open_weights(folder, source, allow_pickle)
    config, tensors, size = family.read_hf(
        config_json, weights.tensors, model_type, len(labels), source
    )
    check_colours(config.channels, source)
    stored = stored_processor(folder, source)
    return ParsedCheckpoint(
        architecture=f"{family.model_types[model_type]} {size}",
        layout=LAYOUT,
        config=config,
        tensors=tensors,
        labels=labels,
        preprocessing=read_preprocessing(stored or {}, config.image_size, source, model_type),
        calibration=read_calibration(config_json, source),
        preprocessing_source="guess" if stored is None else "file",
        notes=weights.notes,
        problem=read_problem(config_json, len(labels), source),
    )


def check_family(config_json: Mapping[str, Any], source: str) -> str:
    """The model type of a config.json; UnsupportedError lists the supported families."""
    model_type = config_json.get("model_type")
    stated = None if model_type is None else str(model_type)
    of_model_type(stated, source)
    return str(stated)


def write(
    folder: Path,
    config: ViTConfig,
    tensors: Mapping[str, Tensor],
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    dtype: torch.dtype,
    calibration: Calibration | None = None,
) -> None:
    """Write a plain ViT as `ViTForImageClassification`, readable by transformers and by `read`."""
    folder.mkdir(parents=True, exist_ok=True)
    stated = {} if calibration is None else {KEY: calibration.as_json()}
    write_json(folder / CONFIG, vit.config_json_of(config, labels, dtype) | stated)
    write_json(folder / PROCESSOR, preprocessing_json(preprocessing))
    named = {
        name: tensor.to(dtype).contiguous() for name, tensor in vit.to_hf_names(tensors).items()
    }
    with replacing(folder / WEIGHTS) as unfinished:
        save_file(named, unfinished, metadata={"format": "pt"})


def _labels(config_json: Mapping[str, Any], source: str) -> tuple[str, ...]:
    if config_json.get("id2label") is None:
        return tuple(f"LABEL_{index}" for index in range(whole(config_json, "num_labels", 2)))
    try:
        stored = section(config_json, "id2label")
        by_index = {int(index): str(label) for index, label in stored.items()}
        return tuple(by_index[index] for index in range(len(by_index)))
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{source}: id2label in {CONFIG} does not number its classes 0, 1, 2, …; correct the "
            "file."
        ) from error
