"""Deletion and insertion: does the probability depend on the patches that a map ranks highest?

maps    several maps of one photo      points   fractions of the patches, from 0 to 1
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vit_demo.errors import ConfigError
from vit_demo.explanations.masking import Masks
from vit_demo.faithfulness.masked_classifier import MaskedClassifier

Maps = Float[Tensor, "maps rows cols"]


@dataclass(frozen=True, eq=False)
class Curve:
    """The class's probability as a growing fraction of the patches is deleted or inserted."""

    shares: Float[Tensor, " points"]
    probabilities: Float[Tensor, " points"]

    @property
    def area(self) -> float:
        """The area under the curve by the trapezoid rule."""
        return float(torch.trapezoid(self.probabilities.double(), self.shares.double()))


def deletion(classifier: MaskedClassifier, maps: Maps, steps: int) -> list[Curve]:
    """Delete the most important patches first; a smaller area means a better map.

    RISE (arXiv 1806.07421). Tokens are dropped if the model can drop them.
    """
    masks = _steps(maps, steps)
    return _curves(classifier.deleted(_flat(masks)), masks)


def insertion(classifier: MaskedClassifier, maps: Maps, steps: int) -> list[Curve]:
    """Insert the most important patches into the blurred photo first; a larger area is better.

    RISE (arXiv 1806.07421).
    """
    masks = _steps(maps, steps)
    return _curves(classifier.blurred(~_flat(masks)), masks)


def ranking(heatmap: Float[Tensor, "rows cols"], seed: int = 0) -> Int[Tensor, " patches"]:
    """The patches in descending order of their values.

    Ties are broken randomly by `seed`; row-major order would favor the top of the photo.
    """
    values = heatmap.flatten()
    shuffled = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))
    shuffled = shuffled.to(values.device)
    return shuffled[values[shuffled].argsort(descending=True, stable=True)]


def nested(ranked: Int[Tensor, " patches"], steps: int) -> Masks:
    """Nested sets of the top-ranked patches, from none to all in equal steps."""
    patches = len(ranked)
    rank = torch.empty_like(ranked)
    rank[ranked] = torch.arange(patches, device=ranked.device)
    return rank < _counts(patches, steps).to(ranked.device)[:, None]


def _steps(maps: Maps, steps: int) -> Bool[Tensor, "maps points patches"]:
    if steps < 1:
        raise ConfigError(f"steps={steps}, but it must be 1 or more.")
    return torch.stack([nested(ranking(heatmap), steps) for heatmap in maps])


def _counts(patches: int, steps: int) -> Int[Tensor, " points"]:
    """The number of patches after each step; a small grid has fewer steps."""
    return torch.linspace(0, patches, min(steps, patches) + 1).round().long()


def _flat(masks: Bool[Tensor, "maps points patches"]) -> Masks:
    return rearrange(masks, "maps points patches -> (maps points) patches")


def _curves(
    probabilities: Float[Tensor, " all"], masks: Bool[Tensor, "maps points patches"]
) -> list[Curve]:
    shares = masks[0].double().mean(dim=-1).cpu()
    by_map = rearrange(probabilities, "(maps points) -> maps points", maps=len(masks))
    return [Curve(shares, values.cpu()) for values in by_map]
