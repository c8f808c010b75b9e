"""SaCo: do patches with more salience really weigh more?

maps   several maps of one photo      groups   equal parts of a photo's patches
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from vit_demo.errors import ConfigError
from vit_demo.faithfulness.curves import Maps, nested, ranking
from vit_demo.faithfulness.masked_classifier import MaskedClassifier

GROUPS = 10


def salience_weighted(
    salience: Float[Tensor, " groups"], effect: Float[Tensor, " groups"]
) -> float:
    """The salience-guided faithfulness coefficient, in [−1, 1] (Wu et al., CVPR 2024).

    For every pair of groups the difference in salience counts for the map where the group with
    more salience has at least the effect of the other one, else against it. 0 for an even map,
    which claims nothing. Raises ConfigError for groups that do not stand by falling salience.
    """
    if (salience.diff() > 0).any():
        raise ConfigError("The groups do not stand by falling salience; sort them first.")
    first, second = torch.triu_indices(len(salience), len(salience), offset=1)
    claimed = (salience[first] - salience[second]).double()
    kept = torch.where(effect[first] >= effect[second], claimed, -claimed)
    total = claimed.sum()
    return float(kept.sum() / total) if total > 0 else 0.0


def saco(case: MaskedClassifier, maps: Maps, groups: int = GROUPS) -> list[float]:
    """The coefficient of each map: groups by falling salience, each hidden alone.

    The patches of a group get the photo's mean colour; its effect is the fall of the class's
    probability, its salience the mean over its patches, since a group may have one more than
    another. Small grids have fewer groups.
    """
    rankings = [ranking(heatmap) for heatmap in maps]
    masks = torch.stack([_parts(nested(ranked, groups)) for ranked in rankings])
    nothing = torch.zeros_like(masks[0, :1])
    flat = rearrange(masks, "maps groups patches -> (maps groups) patches")
    whole, *rest = case.greyed(torch.cat([nothing, flat])).split([1, len(flat)])
    effects = rearrange(whole - rest[0], "(maps groups) -> maps groups", maps=len(maps))
    return [
        salience_weighted(_means(mask, heatmap), effect)
        for mask, heatmap, effect in zip(masks, maps, effects, strict=True)
    ]


def _means(
    masks: Bool[Tensor, "groups patches"], heatmap: Float[Tensor, "rows cols"]
) -> Float[Tensor, " groups"]:
    """The mean of each group; what rounding makes a little larger than the one before is not."""
    sums = masks.double() @ heatmap.flatten().double()
    return (sums / masks.sum(dim=1)).cummin(dim=0).values


def _parts(masks: Bool[Tensor, "points patches"]) -> Bool[Tensor, "groups patches"]:
    """What each step of a nested selection adds to the one before."""
    return masks[1:] & ~masks[:-1]
