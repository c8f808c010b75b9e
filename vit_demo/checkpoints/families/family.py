"""Everything about one model family: its names, its configuration keys and its readers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from vit_demo.models import Classifier, ModelConfig

Config = TypeVar("Config", bound=ModelConfig)

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

# Renames the tensors of a file; result: the tensors under our names.
Rename = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


def hf_reader(
    read_config: Callable[[Mapping[str, Any], int, str], Config],
    rename: Rename,
    size_name: Callable[[Config], str],
) -> ReadHf:
    """The reader of a family whose config.json alone determines the model configuration.

    `read_config` gets config.json, the number of classes, and the checkpoint's name in messages.
    """

    def read(
        config_json: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        model_type: str,
        classes: int,
        source: str,
    ) -> tuple[ModelConfig, Mapping[str, Tensor], str]:
        del model_type
        config = read_config(config_json, classes, source)
        return config, rename(tensors), size_name(config)

    return read


def timm_reader(
    rename: Rename,
    read_config: Callable[[Mapping[str, Any], Mapping[str, Tensor], str], ModelConfig],
) -> ReadTimm:
    """The reader of a family whose model configuration follows from the renamed tensors."""

    def read(
        config_json: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
    ) -> tuple[ModelConfig, Mapping[str, Tensor]]:
        named = rename(tensors)
        return read_config(config_json, named, source), named

    return read


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
