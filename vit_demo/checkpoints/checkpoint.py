"""A checkpoint in three forms: parsed from files, loaded with weights, and without weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vit_demo.checkpoints.calibration import Calibration
from vit_demo.errors import (
    LISTED,
    CheckpointError,
    ConfigError,
    StateDictMismatchError,
    UnsupportedError,
)
from vit_demo.models import Classifier, ModelConfig, ModelSpec
from vit_demo.predictions import Problem
from vit_demo.preprocess import Preprocessing

# Data types of stored weights that can be converted to float32.
FLOATS = {torch.float32, torch.float16, torch.bfloat16, torch.float64}
# Far above any trained weight; the square of a larger one may be infinite.
LARGEST_WEIGHT = 1e12
HEADS = {"head.weight", "head.fc.weight"}

# Source of the preprocessing: a file of the checkpoint, a guess from the model family, or an option
# of the user.
PreprocessingSource = Literal["file", "guess", "option"]


@dataclass(frozen=True)
class ParsedCheckpoint:
    """One checkpoint as read from its files; tensors have our names and their stored precision.

    `notes` are sentences about choices that the reader made: which copy of the weights it used and
    which tensors it left out.
    """

    architecture: str
    layout: str
    config: ModelConfig
    tensors: Mapping[str, Tensor]
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration = field(default_factory=Calibration)
    preprocessing_source: PreprocessingSource = "file"
    notes: tuple[str, ...] = ()
    problem: Problem = "single_label"

    def __post_init__(self) -> None:
        side = self.preprocessing.least_side
        if side is not None and side < self.config.least_side:
            raise ConfigError(
                f"photos are brought to {side} pixels, but the model cuts patches of "
                f"{self.config.least_side}."
            )

    @property
    def has_head(self) -> bool:
        """Whether the checkpoint has a classification head; a bare backbone has none."""
        return not HEADS.isdisjoint(self.tensors)


@dataclass(frozen=True)
class CheckpointInfo:
    """A checkpoint without its weights, for a result that outlives the loaded model.

    `model` is the model's class and configuration, which state what it supports.
    """

    ref: str
    revision: str | None
    architecture: str
    layout: str
    model: ModelSpec
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration
    preprocessing_source: PreprocessingSource = "file"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model with its weights, labels and preprocessing.

    `revision` is the commit that was fetched, or None for local files.
    """

    ref: str
    revision: str | None
    architecture: str
    layout: str
    model: Classifier
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration = field(default_factory=Calibration)
    preprocessing_source: PreprocessingSource = "file"
    notes: tuple[str, ...] = ()

    @property
    def problem(self) -> Problem:
        """What the model's logits mean."""
        return self.model.problem

    def check_answers(self, logits: Float[Tensor, "*photos classes"]) -> None:
        """Raise CheckpointError where logits, divided by the temperature, are not finite."""
        if not (logits / self.calibration.temperature).isfinite().all():
            raise CheckpointError(
                f"'{self.ref}' answers with infinite values or none at all, so its weights are "
                "damaged; save it again, or choose another checkpoint."
            )

    @property
    def bytes(self) -> int:
        """Memory size of the weights."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters())

    @property
    def info(self) -> CheckpointInfo:
        """This checkpoint without its weights."""
        return CheckpointInfo(
            ref=self.ref,
            revision=self.revision,
            architecture=self.architecture,
            layout=self.layout,
            model=self.model.spec,
            labels=self.labels,
            preprocessing=self.preprocessing,
            calibration=self.calibration,
            preprocessing_source=self.preprocessing_source,
            notes=self.notes,
        )


def build(stored: ParsedCheckpoint, ref: str, revision: str | None = None) -> Checkpoint:
    """Build the model that the files describe and load the weights; frozen, in evaluation mode.

    Raises UnsupportedError for a backbone without a head, StateDictMismatchError if the tensors do
    not fit.
    """
    if not stored.has_head:
        raise UnsupportedError(
            f"'{ref}' is a backbone without a classification head, so it names no flowers; "
            "give it one with: python -m vit_demo finetune"
        )
    # Tensors made in a caller's inference mode cannot be used for gradients.
    with torch.inference_mode(False):
        with torch.device("meta"):  # initializing weights that are replaced at once takes seconds
            model = stored.config.build()
        ours = {n: t.clone() if t.is_inference() else t for n, t in stored.tensors.items()}
        load_state_dict_strict(model, ours, f"'{ref}'")
    model.problem = stored.problem
    return Checkpoint(
        ref=ref,
        revision=revision,
        architecture=stored.architecture,
        layout=stored.layout,
        model=model.eval().requires_grad_(False),
        labels=stored.labels,
        preprocessing=stored.preprocessing,
        calibration=stored.calibration,
        preprocessing_source=stored.preprocessing_source,
        notes=stored.notes,
    )


def load_state_dict_strict(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load `tensors` into `model` in float32; everything is checked before anything is changed.

    Raises StateDictMismatchError, and leaves the model unchanged, unless names and shapes match
    exactly; raises CheckpointError if the values cannot be weights.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    missing = sorted(wanted.keys() - found.keys())
    unexpected = sorted(found.keys() - wanted.keys())
    reshaped = {
        name: (wanted[name], found[name])
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name] != found[name]
    }
    if missing or unexpected or reshaped:
        raise StateDictMismatchError(source, missing, unexpected, reshaped)
    if kinds := {str(t.dtype) for t in tensors.values() if t.dtype not in FLOATS}:
        raise CheckpointError(
            f"{source} stores its weights as {', '.join(sorted(kinds))}, which is not read; save "
            "them as torch.float32 or torch.float16."
        )
    values = {name: tensor.float() for name, tensor in tensors.items()}
    if damaged := [name for name, tensor in values.items() if not _plausible(tensor)]:
        more = f" and {len(damaged) - LISTED} more" if len(damaged) > LISTED else ""
        raise CheckpointError(
            f"{source} has weights that are infinite, no numbers, or beyond {LARGEST_WEIGHT:g}: "
            f"{', '.join(damaged[:LISTED])}{more}; the file is damaged, so download or save it "
            "again."
        )
    model.load_state_dict(values, assign=True)


def _plausible(weights: Tensor) -> bool:
    """Whether all values are finite and of a plausible size; one pass over the tensor."""
    if not weights.numel():
        return True
    low, high = (float(end) for end in weights.aminmax())
    # If any weight is NaN, both are NaN, and comparisons with NaN are false.
    return low >= -LARGEST_WEIGHT and high <= LARGEST_WEIGHT
