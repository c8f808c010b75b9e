"""What is known of one family of models: how its checkpoints are named, described and read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vit_demo.models import Classifier, ModelConfig

# A family's own keys and tensors in a transformers checkpoint: config.json, the file's tensors,
# the model type, how many classes there are, and how messages call the checkpoint. It gives the
# configuration, the tensors under our names, and the size's name.
ReadHf = Callable[
    [Mapping[str, Any], Mapping[str, Tensor], str, int, str],
    tuple[ModelConfig, Mapping[str, Tensor], str],
]
# The same in a timm checkpoint, which states its classes itself and has a name for its size.
ReadTimm = Callable[
    [Mapping[str, Any], Mapping[str, Tensor], str], tuple[ModelConfig, Mapping[str, Tensor]]
]


@dataclass(frozen=True)
class Family:
    """One family of models, in both libraries' layouts.

    `model_types` are transformers' names, which are the Hub's tags too, each with the name that
    its paper gives it. `processors` says whose processor the photos of a model type go through
    where the files do not; those of a model type of `one_size` take one size of photos.

    `timm_names` is a pattern of how timm's names of its architectures begin, and `not_timm_names`
    are patterns of names that begin so all the same, with what these models have instead.
    `timm_arguments` are those that timm may have made a model with; `only_mean` says that its head
    reads a mean and nothing else. Either library may be left out.
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
