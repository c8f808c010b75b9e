"""The transformers library's layout: config.json, model.safetensors, preprocessor_config.json.

Read from the files alone: the library itself is not needed, and no repository's code is run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from vit_demo.checkpoints.calibration import KEY, Calibration, read_calibration
from vit_demo.checkpoints.checkpoint import ParsedCheckpoint
from vit_demo.checkpoints.files import (
    CONFIG,
    PROCESSOR,
    WEIGHTS,
    load_weights,
    read_json,
    replacing,
    write_json,
)
from vit_demo.checkpoints.naming import check_colours, unreadable
from vit_demo.checkpoints.transformers import mobilevit, swin, vit
from vit_demo.checkpoints.transformers.processor import preprocessing_json, read_preprocessing
from vit_demo.checkpoints.values import section, whole
from vit_demo.errors import CheckpointError
from vit_demo.models import ModelConfig
from vit_demo.models.vit import ViTConfig
from vit_demo.preprocess import Preprocessing

LAYOUT = "transformers"
FAMILIES = {
    "vit": "ViT",
    "deit": "DeiT",
    "dinov2": "DINOv2",
    "dinov2_with_registers": "DINOv2",
    "swin": "Swin",
    "mobilevit": "MobileViT",
}


def read(folder: Path, source: str, allow_pickle: bool = False) -> ParsedCheckpoint:
    """Read the three files. `source` names the checkpoint in messages.

    Raises CheckpointError when a file is missing or damaged, UnsupportedError when the family
    or one of its options is not read here.
    """
    config_json = read_json(folder / CONFIG, source)
    family = check_family(config_json, source)
    labels = _labels(config_json, source)
    tensors = load_weights(folder, source, allow_pickle)
    config, tensors, size = _describe(config_json, tensors, family, len(labels), source)
    check_colours(config.channels, source)
    processor = folder / PROCESSOR
    stored = read_json(processor, source) if processor.exists() else {}
    return ParsedCheckpoint(
        architecture=f"{FAMILIES[family]} {size}",
        layout=LAYOUT,
        config=config,
        tensors=tensors,
        labels=labels,
        preprocessing=read_preprocessing(stored, config.image_size, source, family),
        calibration=read_calibration(config_json, source),
    )


def _describe(
    config_json: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    family: str,
    classes: int,
    source: str,
) -> tuple[ModelConfig, Mapping[str, Tensor], str]:
    """Configuration, tensors under our names, and the size's name."""
    match family:
        case "swin":
            config = swin.read_config(config_json, classes, source)
            return config, swin.to_timm_names(tensors), swin.size_name(config)
        case "mobilevit":
            config = mobilevit.read_config(config_json, classes, source)
            return config, mobilevit.to_timm_names(tensors), mobilevit.size_name(config)
        case _:
            named = vit.to_timm_names(tensors, family)
            config = vit.read_config(config_json, named, family, classes, source)
            return config, named, vit.size_name(config)


def check_family(config_json: Mapping[str, Any], source: str) -> str:
    """The family that a config.json describes; refused, with what is read, when it is another."""
    family = config_json.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise unreadable(source, None if family is None else str(family))
    return family


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
        name: tensor.to(dtype).contiguous()
        for name, tensor in vit.to_transformers_names(tensors).items()
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
            f"{source}: id2label in {CONFIG} does not number its classes 0, 1, 2, …; mend the file."
        ) from error
