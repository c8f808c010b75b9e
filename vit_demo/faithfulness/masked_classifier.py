"""One photo before a model: how probable a class stays while parts of the photo are hidden.

masks   sets of patches to hide, each tried apart
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vit_demo.errors import CheckpointError
from vit_demo.explanations.masking import (
    Between,
    Masks,
    gaussian,
    logits_dropping,
    logits_replacing,
    mean_colour,
)
from vit_demo.explanations.traced_pass import TracedPass
from vit_demo.predictions import scores
from vit_demo.trace import LinearMixing

# The blur of RISE (arXiv 1806.07421): a kernel of 11 pixels, sigma 5.
BLUR_SIGMA, BLUR_REACH = 5.0, 5

Probabilities = Float[Tensor, " masks"]


@dataclass(frozen=True, eq=False)
class MaskedClassifier:
    """A watched photo (a batch of one), and the class whose probability is followed.

    With `versus` it is the probability of the one class as against the other alone. A regression
    has no probabilities: its number is followed, or the difference of two. `temperature`
    is the checkpoint's own, so that the probabilities are those that everybody is shown. With
    `bfloat16` the passes with hidden patches are made in half precision: faster where the
    processor has it, and a little coarser, for every map alike. With `between`, which is called
    after each, sets go through the model one at a time; what it raises ends the work.
    """

    traced: TracedPass
    target: int
    versus: int | None = None
    temperature: float = 1.0
    bfloat16: bool = False
    between: Between | None = None

    def __post_init__(self) -> None:
        if not self.traced.logits.isfinite().all():
            raise CheckpointError(
                "The checkpoint answers with infinite values or none at all, so its weights are "
                "damaged and no map of it can be put to the test; choose another checkpoint."
            )

    @property
    def patches(self) -> int:
        """How many patches there are to hide."""
        rows, cols = self.traced.grid
        return rows * cols

    @cached_property
    def drops(self) -> bool:
        """Whether patches can be left out, down to none of them: the read-out lives on prefixes."""
        if not self.traced.model.drops_tokens:
            return False
        last = self.traced.trace.flows[-1] if self.traced.trace.flows else None
        if not isinstance(last, LinearMixing):
            return False
        return int(last.index.max()) < last.tokens - self.patches

    def deleted(self, masks: Masks) -> Probabilities:
        """The class's probability without each set of patches.

        They are left out where the model allows it, else they get the photo's mean colour.
        """
        traced = self.traced
        if not self.drops:
            return self.greyed(masks)
        return self._of_each(
            masks,
            lambda sets: logits_dropping(
                traced.model, traced.pixels, sets, self.between, self._tokens_per_batch
            ),
        )

    def greyed(self, masks: Masks) -> Probabilities:
        """The class's probability with each set of patches in the photo's mean colour."""
        return self._replaced(masks, mean_colour(self.traced.pixels))

    def blurred(self, masks: Masks) -> Probabilities:
        """The class's probability with each set of patches blurred."""
        return self._replaced(masks, gaussian(self.traced.pixels, BLUR_SIGMA, BLUR_REACH))

    def _replaced(self, masks: Masks, other: Float[Tensor, "1 channels h w"]) -> Probabilities:
        traced = self.traced
        return self._of_each(
            masks,
            lambda sets: logits_replacing(
                traced.model,
                traced.pixels,
                other,
                sets,
                traced.grid,
                self.between,
                self._tokens_per_batch,
            ),
        )

    @property
    def _tokens_per_batch(self) -> int | None:
        """So few that a batch is one set, where others may be waiting for the model."""
        return None if self.between is None else 1

    def _of_each(
        self,
        masks: Masks,
        logits_of: Callable[[Bool[Tensor, "sets patches"]], Float[Tensor, "sets classes"]],
    ) -> Probabilities:
        """What is hidden twice is run once, and the whole photo has been run already."""
        once, places = masks.unique(dim=0, return_inverse=True)
        known = self.traced.logits.detach()
        logits = known.repeat(len(once), 1)
        hides = once.any(dim=1)
        half = torch.autocast(known.device.type, torch.bfloat16, enabled=self.bfloat16)
        if hides.any():
            with torch.no_grad(), half:
                logits[hides] = logits_of(once[hides].to(known.device)).to(known)
        problem = self.traced.model.problem
        if self.versus is None:
            return scores(logits, problem, self.temperature)[places, self.target]
        pair = logits[:, [self.target, self.versus]]
        if problem == "regression":
            return (pair[:, 0] - pair[:, 1])[places]
        return scores(pair, "single_label", self.temperature)[places, 0]
