"""Everything about one model family: its names, its configuration keys and its readers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vit_demo.models import Classifier, ModelConfig

# Reads a family's keys and tensors in a transformers checkpoint. Arguments: config.json, the
# tensors, the model type, the number of classes, and the checkpoint's name in messages. Result: the
# configuration, the tensors under our names, and the size's name.
ReadHf = Callable[
    [Mapping[str, Any], Mapping[str, Tensor], str, int, str],
    tuple[ModelConfig, Mapping[str, Tensor], str],
]
# The same for a timm checkpoint, which states its classes and the name of its size itself.
ReadTimm = Callable[
    [Mapping[str, Any], Mapping[str, Tensor], str], tuple[ModelConfig, Mapping[str, Tensor]]
]


@dataclass(frozen=True)
class Family:
    """One model family, in both libraries' layouts.

    `model_types` maps transformers' model types, which are also the Hub's tags, to the names in the
    papers. `processors` gives the default image processor of a model type, for checkpoints without
    a processor file; model types in `one_size` accept only one input size.

    `timm_names` is a pattern for the start of timm's architecture names. `not_timm_names` maps
    patterns of names that match it but are not supported to the reason. `timm_arguments` are the
    supported model arguments of timm; `only_mean` says that the head always reads a mean. The
    entries for either library may be omitted.
    """

    model: type[Classifier]
    model_types: Mapping[str, str]
    read_hf: ReadHf
    processors: Mapping[str, str] = field(default_factory=dict)
    one_size: tuple[str, ...] = ()
    timm_names: str | None = None
    not_timm_names: Mapping[str, str] = field(default_factory=dict)
    timm_arguments: tuple[str, ...] = ()
    only_mean: bool = False
    read_timm: ReadTimm | None = None
