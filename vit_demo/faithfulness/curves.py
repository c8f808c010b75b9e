"""Deletion and insertion: does the class go with the patches that a map calls important?

maps    several maps of one photo      points   shares of the patches, from none to all
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
    """The class's probability while a growing share of the patches is taken away, or given."""

    shares: Float[Tensor, " points"]
    probabilities: Float[Tensor, " points"]

    @property
    def area(self) -> float:
        """The area under the curve by the trapezoid rule, from no patch to all of them."""
        return float(torch.trapezoid(self.probabilities.double(), self.shares.double()))


def deletion(case: MaskedClassifier, maps: Maps, steps: int) -> list[Curve]:
    """Take the most important patches first; the smaller the area, the better the map.

    RISE (arXiv 1806.07421); in a Vision Transformer by leaving tokens out, where the model can.
    """
    masks = _steps(maps, steps)
    return _curves(case.deleted(_flat(masks)), masks)


def insertion(case: MaskedClassifier, maps: Maps, steps: int) -> list[Curve]:
    """Give the most important patches first, into the blurred photo; a larger area is better.

    RISE (arXiv 1806.07421).
    """
    masks = _steps(maps, steps)
    return _curves(case.blurred(~_flat(masks)), masks)


def ranking(heatmap: Float[Tensor, "rows cols"], seed: int = 0) -> Int[Tensor, " patches"]:
    """The patches by falling value.

    Between equal values chance decides, by `seed`: reading order would favour the top of a photo.
    """
    values = heatmap.flatten()
    shuffled = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))
    shuffled = shuffled.to(values.device)
    return shuffled[values[shuffled].argsort(descending=True, stable=True)]


def nested(ranked: Int[Tensor, " patches"], steps: int) -> Masks:
    """The first patches of a ranking: none, then a step more each time, at last all of them."""
    patches = len(ranked)
    place = torch.empty_like(ranked)
    place[ranked] = torch.arange(patches, device=ranked.device)
    return place < _counts(patches, steps).to(ranked.device)[:, None]


def _steps(maps: Maps, steps: int) -> Bool[Tensor, "maps points patches"]:
    if steps < 1:
        raise ConfigError(f"steps={steps}, but at least 1 is needed.")
    return torch.stack([nested(ranking(heatmap), steps) for heatmap in maps])


def _counts(patches: int, steps: int) -> Int[Tensor, " points"]:
    """So many steps of as equal counts as can be; small grids have fewer."""
    return torch.linspace(0, patches, min(steps, patches) + 1).round().long()


def _flat(masks: Bool[Tensor, "maps points patches"]) -> Masks:
    return rearrange(masks, "maps points patches -> (maps points) patches")


def _curves(
    probabilities: Float[Tensor, " all"], masks: Bool[Tensor, "maps points patches"]
) -> list[Curve]:
    shares = masks[0].double().mean(dim=-1).cpu()
    apart = rearrange(probabilities, "(maps points) -> maps points", maps=len(masks))
    return [Curve(shares, line.cpu()) for line in apart]
