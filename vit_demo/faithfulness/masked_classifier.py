"""The probability of a class while parts of a photo are masked.

masks   sets of patches to mask, each in a pass of its own
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
    """A traced photo (a batch of one) and the class whose probability is measured.

    With `versus` it is the probability of the one class against the other, without the rest. For a
    regression it is the predicted value, or the difference of two. `temperature` is the
    checkpoint's own, so the probabilities equal the displayed ones. With `bfloat16` the masked
    passes run in bfloat16: faster on hardware that supports it and less precise, equally for every
    map. With `between`, the masks go through the model one at a time and `between` is called after
    each; an exception that it raises stops the work.
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
                "The checkpoint's logits are infinite or NaN, so its weights are damaged and its "
                "maps cannot be tested; choose another checkpoint."
            )

    @property
    def patches(self) -> int:
        """The number of patches."""
        rows, cols = self.traced.grid
        return rows * cols

    @cached_property
    def drops(self) -> bool:
        """Whether all patches can be dropped, because the head reads only prefix tokens."""
        if not self.traced.model.drops_tokens:
            return False
        last = self.traced.trace.flows[-1] if self.traced.trace.flows else None
        if not isinstance(last, LinearMixing):
            return False
        return int(last.index.max()) < last.tokens - self.patches

    def deleted(self, masks: Masks) -> Probabilities:
        """The class's probability with each set of patches deleted.

        Their tokens are dropped if possible, otherwise they get the photo's mean color.
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
        """The class's probability with each set of patches in the photo's mean color."""
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
        """With `between`, one mask per batch, because other visitors may be waiting."""
        return None if self.between is None else 1

    def _of_each(
        self,
        masks: Masks,
        logits_of: Callable[[Bool[Tensor, "sets patches"]], Float[Tensor, "sets classes"]],
    ) -> Probabilities:
        """Run each distinct mask once; the logits of the unmasked photo are known already."""
        distinct, inverse = masks.unique(dim=0, return_inverse=True)
        unmasked = self.traced.logits.detach()
        logits = unmasked.repeat(len(distinct), 1)
        nonempty = distinct.any(dim=1)
        autocast = torch.autocast(unmasked.device.type, torch.bfloat16, enabled=self.bfloat16)
        if nonempty.any():
            with torch.no_grad(), autocast:
                masked = logits_of(distinct[nonempty].to(unmasked.device))
                logits[nonempty] = masked.to(unmasked)
        problem = self.traced.model.problem
        if self.versus is None:
            return scores(logits, problem, self.temperature)[inverse, self.target]
        pair = logits[:, [self.target, self.versus]]
        if problem == "regression":
            return (pair[:, 0] - pair[:, 1])[inverse]
        return scores(pair, "single_label", self.temperature)[inverse, 0]
