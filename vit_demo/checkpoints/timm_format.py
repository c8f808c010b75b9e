"""The timm layout: config.json, which includes preprocessing, and model.safetensors.

Only the files are read: the library itself is not needed, and no repository code is run.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.calibration import read_calibration
from vit_demo.checkpoints.checkpoint import ParsedCheckpoint
from vit_demo.checkpoints.families import Family, of_timm_name
from vit_demo.checkpoints.files import CONFIG, read_json
from vit_demo.checkpoints.naming import check_colours
from vit_demo.checkpoints.problem import read_problem
from vit_demo.checkpoints.timm_config import (
    model_args,
    pooling,
    read_labels,
    read_preprocessing,
    states_preprocessing,
)
from vit_demo.checkpoints.weights import open_weights
from vit_demo.errors import UnsupportedError

LAYOUT = "timm"

# Arguments that have no effect after training.
TRAINING = (
    "drop_rate",
    "pos_drop_rate",
    "patch_drop_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "drop_path_rate",
    "drop_block_rate",
    "drop_block_size",
    "weight_init",
    "fix_init",
    "zero_init_last",
)

# Arguments that the tensor shapes show, or that the family readers use.
SHAPES = ("img_size", "in_chans", "num_classes", "global_pool")


def read(folder: Path, source: str, allow_pickle: bool = False) -> ParsedCheckpoint:
    """Read the two files. `source` names the checkpoint in messages.

    Raises CheckpointError if a file is missing or damaged, UnsupportedError if the architecture or
    one of its options is not supported.
    """
    config_json = read_json(folder / CONFIG, source)
    check_family(config_json, source)
    weights = open_weights(folder, source, allow_pickle)
    return replace(describe(config_json, weights.tensors, source), notes=weights.notes)


def check_family(config_json: Mapping[str, Any], source: str) -> str:
    """The model type of an architecture's family; UnsupportedError lists the supported families.

    It is the first of the family's model types.
    """
    return next(iter(_family(config_json, source).model_types))


def _family(config_json: Mapping[str, Any], source: str) -> Family:
    return of_timm_name(str(config_json.get("architecture", "")), source)


def describe(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> ParsedCheckpoint:
    """Parse a configuration and tensors under timm's names."""
    family = _family(config_json, source)
    check_arguments(config_json, family, source)
    if family.read_timm is None:
        raise RuntimeError("This family has timm_names; its record lacks read_timm.")
    config, named = family.read_timm(config_json, tensors, source)
    check_colours(config.channels, source)
    return ParsedCheckpoint(
        architecture=str(config_json["architecture"]),
        layout=LAYOUT,
        config=config,
        tensors=named,
        labels=read_labels(config_json, config.classes, source),
        preprocessing=read_preprocessing(config_json, source),
        calibration=read_calibration(config_json, source),
        preprocessing_source="file" if states_preprocessing(config_json) else "guess",
        problem=read_problem(config_json, config.classes, source),
    )


def check_arguments(config_json: Mapping[str, Any], family: Family, source: str) -> None:
    """Raise UnsupportedError for an argument or a pooling that the family reader does not support.

    An unknown argument that is null, false or empty has no effect and is accepted.
    """
    for name, value in model_args(config_json).items():
        if value and name not in (*TRAINING, *SHAPES, *family.timm_arguments):
            raise UnsupportedError(
                f"{source} was made with {name}={value} (model_args), which is not read here; "
                "choose one that was made without."
            )
    how = pooling(config_json)
    if family.only_mean and how not in (None, "avg"):
        raise UnsupportedError(f"{source} pools its places by '{how}'; readable: avg, their mean.")
