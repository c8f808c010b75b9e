"""A checkpoint, ready to use."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from vit_demo.checkpoints.calibration import Calibration
from vit_demo.checkpoints.parsed_checkpoint import ParsedCheckpoint
from vit_demo.checkpoints.state_dict import load_state_dict_strict
from vit_demo.errors import CheckpointError, UnsupportedError
from vit_demo.models import Classifier, ModelSpec
from vit_demo.preprocess import Preprocessing


@dataclass(frozen=True)
class CheckpointInfo:
    """A checkpoint without its weights, for a result that outlives those it came from.

    `model` is its class and configuration, which say what can be asked of it.
    """

    ref: str
    revision: str | None
    architecture: str
    layout: str
    model: ModelSpec
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model with its weights, its labels, and how it wants its photos.

    `revision` is the commit it was fetched at, or None for files that lie here.
    """

    ref: str
    revision: str | None
    architecture: str
    layout: str
    model: Classifier
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration = field(default_factory=Calibration)

    def check_answers(self, logits: Float[Tensor, "*photos classes"]) -> None:
        """Raise CheckpointError where logits, divided by the temperature, are not finite."""
        if not (logits / self.calibration.temperature).isfinite().all():
            raise CheckpointError(
                f"'{self.ref}' answers with infinite values or none at all, so its weights are "
                "damaged; save it again, or choose another checkpoint."
            )

    @property
    def bytes(self) -> int:
        """What the weights take up in memory."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters())

    @property
    def info(self) -> CheckpointInfo:
        """The same without the weights."""
        return CheckpointInfo(
            ref=self.ref,
            revision=self.revision,
            architecture=self.architecture,
            layout=self.layout,
            model=self.model.spec,
            labels=self.labels,
            preprocessing=self.preprocessing,
            calibration=self.calibration,
        )


def build(stored: ParsedCheckpoint, ref: str, revision: str | None = None) -> Checkpoint:
    """Make the model that the files describe and fill it; it is frozen and in evaluation mode.

    Raises UnsupportedError for a backbone without a head, StateDictMismatchError when tensors do
    not fit.
    """
    if not stored.has_head:
        raise UnsupportedError(
            f"'{ref}' is a backbone without a classification head, so it names no flowers; "
            "give it one with: python -m vit_demo finetune"
        )
    # What was made in a caller's inference mode could never take part in a gradient.
    with torch.inference_mode(False):
        with torch.device("meta"):  # to draw weights that are replaced at once takes seconds
            model = stored.config.build()
        ours = {n: t.clone() if t.is_inference() else t for n, t in stored.tensors.items()}
        load_state_dict_strict(model, ours, f"'{ref}'")
    return Checkpoint(
        ref=ref,
        revision=revision,
        architecture=stored.architecture,
        layout=stored.layout,
        model=model.eval().requires_grad_(False),
        labels=stored.labels,
        preprocessing=stored.preprocessing,
        calibration=stored.calibration,
    )
