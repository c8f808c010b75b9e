"""What the files of one checkpoint say, in this package's terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from vit_demo.checkpoints.calibration import Calibration
from vit_demo.errors import ConfigError
from vit_demo.models import ModelConfig
from vit_demo.preprocess import Preprocessing

HEADS = {"head.weight", "head.fc.weight"}


@dataclass(frozen=True)
class ParsedCheckpoint:
    """One checkpoint as read from its files; tensors bear our names and their stored precision."""

    architecture: str
    layout: str
    config: ModelConfig
    tensors: Mapping[str, Tensor]
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        side = self.preprocessing.least_side
        if side is not None and side < self.config.least_side:
            raise ConfigError(
                f"photos are brought to {side} pixels, but the model cuts patches of "
                f"{self.config.least_side}."
            )

    @property
    def has_head(self) -> bool:
        """Whether it classifies; a bare backbone does not."""
        return not HEADS.isdisjoint(self.tensors)
