"""The timm library's layout: config.json and model.safetensors, preprocessing included.

Read from the files alone: the library itself is not needed, and no repository's code is run.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vit_demo.checkpoints.calibration import read_calibration
from vit_demo.checkpoints.checkpoint import ParsedCheckpoint
from vit_demo.checkpoints.files import CONFIG, load_weights, read_json
from vit_demo.checkpoints.naming import check_colours, unreadable
from vit_demo.checkpoints.timm import mobilevit, swin, vit
from vit_demo.checkpoints.timm.arguments import check_arguments
from vit_demo.checkpoints.timm.timm_config import read_labels, read_preprocessing
from vit_demo.models import ModelConfig

LAYOUT = "timm"

# How the names of the architectures begin, and whose they are.
FAMILIES = {
    r"(vit|flexivit|deit3?|eva_large|aimv2|test_vit\d?)(_|$)": "vit",
    r"swin_": "swin",
    r"mobilevit_": "mobilevit",
}

# Names that begin so, and are another kind of model all the same; these stand in other modules.
OTHERS = {
    r"vit_\w*_rope(_|$)|vit_\w*rope_|vit_\w*dinov3|vit_\w*_pe_": "rotary positions",
    r"vit_\w*_rmlp|vit_relpos|vit_srelpos|vit_\w*relpos": "relative positions",
    r"vit_base_(r\d+|resnet)|vit_(tiny|small|base|large)_r\d+": "a convolutional stem",
    r"vitamin|vit_\w*sam": "windows or convolutions among its blocks",
}


def read(folder: Path, source: str, allow_pickle: bool = False) -> ParsedCheckpoint:
    """Read the two files. `source` names the checkpoint in messages.

    Raises CheckpointError when a file is missing or damaged, UnsupportedError when the
    architecture or one of its options is not read here.
    """
    config_json = read_json(folder / CONFIG, source)
    check_family(config_json, source)
    return describe(config_json, load_weights(folder, source, allow_pickle), source)


def check_family(config_json: Mapping[str, Any], source: str) -> str:
    """The family of an architecture; refused, with what is read, when it is another."""
    name = str(config_json.get("architecture", ""))
    for pattern, reason in OTHERS.items():
        if re.match(pattern, name):
            raise unreadable(source, name, f", which has {reason}")
    for pattern, family in FAMILIES.items():
        if re.match(pattern, name):
            return family
    raise unreadable(source, name)


def describe(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> ParsedCheckpoint:
    """What a configuration and tensors under timm's names say together."""
    family = check_family(config_json, source)
    check_arguments(config_json, family, source)
    config, named = _model(config_json, tensors, family, source)
    check_colours(config.channels, source)
    return ParsedCheckpoint(
        architecture=str(config_json["architecture"]),
        layout=LAYOUT,
        config=config,
        tensors=named,
        labels=read_labels(config_json, config.classes, source),
        preprocessing=read_preprocessing(config_json, source),
        calibration=read_calibration(config_json, source),
    )


def _model(
    config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], family: str, source: str
) -> tuple[ModelConfig, Mapping[str, Tensor]]:
    """Configuration, and tensors under our names."""
    match family:
        case "swin":
            named = swin.to_timm_names(tensors)
            return swin.read_config(config_json, named, source), named
        case "mobilevit":
            named = mobilevit.to_timm_names(tensors)
            return mobilevit.read_config(config_json, named, source), named
        case _:
            named = vit.to_timm_names(tensors)
            return vit.read_config(config_json, named, source), named
