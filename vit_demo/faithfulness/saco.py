"""SaCo: do patches with more salience have more effect on the probability?

maps   several maps of one photo      groups   groups of a photo's patches, of equal size
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

    Each pair of groups contributes its difference in salience: positively if the group with more
    salience has at least the effect of the other one, otherwise negatively. The result is
    normalized to [−1, 1]; it is 0 for a uniform map. Raises ConfigError for groups that are not
    sorted by descending salience.
    """
    if (salience.diff() > 0).any():
        raise ConfigError("The groups are not in order of descending salience; sort them first.")
    first, second = torch.triu_indices(len(salience), len(salience), offset=1)
    claimed = (salience[first] - salience[second]).double()
    kept = torch.where(effect[first] >= effect[second], claimed, -claimed)
    total = claimed.sum()
    return float(kept.sum() / total) if total > 0 else 0.0


def saco(classifier: MaskedClassifier, maps: Maps, groups: int = GROUPS) -> list[float]:
    """The coefficient of each map, from groups of patches by descending salience.

    Each group is masked alone, with the photo's mean color. Its effect is the decrease in the
    class's probability; its salience is the mean over its patches, because group sizes can differ
    by one. A small grid has fewer groups.
    """
    rankings = [ranking(heatmap) for heatmap in maps]
    masks = torch.stack([_parts(nested(ranked, groups)) for ranked in rankings])
    unmasked = torch.zeros_like(masks[0, :1])
    flat = rearrange(masks, "maps groups patches -> (maps groups) patches")
    whole, masked = classifier.greyed(torch.cat([unmasked, flat])).split([1, len(flat)])
    effects = rearrange(whole - masked, "(maps groups) -> maps groups", maps=len(maps))
    return [
        salience_weighted(_means(mask, heatmap), effect)
        for mask, heatmap, effect in zip(masks, maps, effects, strict=True)
    ]


def _means(
    masks: Bool[Tensor, "groups patches"], heatmap: Float[Tensor, "rows cols"]
) -> Float[Tensor, " groups"]:
    """The mean of each group, made non-increasing, since rounding can break the order."""
    sums = masks.double() @ heatmap.flatten().double()
    return (sums / masks.sum(dim=1)).cummin(dim=0).values


def _parts(masks: Bool[Tensor, "points patches"]) -> Bool[Tensor, "groups patches"]:
    """The patches that each step of a nested selection adds to the previous one."""
    return masks[1:] & ~masks[:-1]
