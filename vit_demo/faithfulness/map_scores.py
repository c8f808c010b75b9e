"""The three faithfulness scores (deletion, insertion, SaCo) for several maps of one photo."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vit_demo.explanations import METHODS
from vit_demo.faithfulness.curves import Curve, deletion, insertion
from vit_demo.faithfulness.masked_classifier import MaskedClassifier
from vit_demo.faithfulness.saco import GROUPS, saco

# Steps of a curve: in a benchmark, in the quick test of one map, and in the automatic test of the
# page, which uses the same number of groups for SaCo.
STEPS, QUICK_STEPS, AUTOMATIC_STEPS = 20, 10, 5

# The control method, and the seed of the control for a single map. It differs from the method's
# default seed, so that the control can be tested against another random map.
CONTROL, CONTROL_SEED = "random", 1

# The scores by name, and whether higher is better.
FIGURES = {"deletion": False, "insertion": True, "saco": True}


def deleting(drops: bool) -> str:
    """What deletion does to a patch, in words."""
    return "tokens dropped" if drops else "patches in the photo's mean color"


@dataclass(frozen=True, eq=False)
class FaithfulnessScores:
    """The scores of one map on one photo: two curves and the SaCo coefficient."""

    deletion: Curve
    insertion: Curve
    saco: float

    def figure(self, name: str) -> float:
        """One of FIGURES, as a number."""
        score = getattr(self, name)
        return score.area if isinstance(score, Curve) else score


@dataclass(frozen=True, eq=False)
class ScoresVsRandom:
    """The scores of a map, and those of a random map for comparison."""

    scores: FaithfulnessScores
    control: FaithfulnessScores
    drops: bool
    bfloat16: bool = False

    @property
    def steps(self) -> int:
        """The steps of the curves; a grid with few patches has fewer steps than requested."""
        return len(self.scores.deletion.shares) - 1

    def better(self, name: str) -> bool:
        """Whether the map is better than noise in one of FIGURES."""
        mine, noise = self.scores.figure(name), self.control.figure(name)
        return mine > noise if FIGURES[name] else mine < noise

    def as_json(self) -> dict[str, Any]:
        """Every score of the map and of the control."""
        return {
            "deletion": deleting(self.drops),
            "steps": self.steps,
            "bfloat16": self.bfloat16,
            **{
                who: {
                    **{name: scores.figure(name) for name in FIGURES},
                    "curves": {
                        name: getattr(scores, name).probabilities.tolist()
                        for name in ("deletion", "insertion")
                    },
                }
                for who, scores in (("map", self.scores), (CONTROL, self.control))
            },
        }


def score_one_map(
    classifier: MaskedClassifier,
    maps: Mapping[str, Float[Tensor, "rows cols"]],
    steps: int = STEPS,
    groups: int = GROUPS,
) -> dict[str, FaithfulnessScores]:
    """Every score of every map of one photo; the maps share batches."""
    stacked = torch.stack(list(maps.values())).float()
    columns = zip(
        deletion(classifier, stacked, steps),
        insertion(classifier, stacked, steps),
        saco(classifier, stacked, groups),
        strict=True,
    )
    return {name: FaithfulnessScores(*row) for name, row in zip(maps, columns, strict=True)}


def scores_vs_random(
    classifier: MaskedClassifier,
    heatmap: Float[Tensor, "rows cols"],
    steps: int = QUICK_STEPS,
    groups: int = GROUPS,
) -> ScoresVsRandom:
    """The quick test of one map: its scores and those of one random map."""
    noise = METHODS[CONTROL](
        classifier.traced, torch.tensor([classifier.target]), {"seed": CONTROL_SEED}
    )[0]
    scores = score_one_map(classifier, {"map": heatmap, CONTROL: noise}, steps, groups)
    return ScoresVsRandom(scores["map"], scores[CONTROL], classifier.drops, classifier.bfloat16)
