"""The three figures that say how far a map tells the truth, for several maps of one photo."""

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

# Steps of a curve; ten are enough for one photo at a glance. A test that nobody has asked for has
# fewer still, and as many groups for SaCo.
STEPS, QUICK_STEPS, AUTOMATIC_STEPS = 20, 10, 5

# The control, and the seed of the one that a single map is held against: another than the default,
# so that the control itself can be asked about too.
CONTROL, CONTROL_SEED = "random", 1

# The figures by name, and whether more of it is better.
FIGURES = {"deletion": False, "insertion": True, "saco": True}


def deleting(drops: bool) -> str:
    """What deletion does to a patch, in words."""
    return "tokens left out" if drops else "patches in the photo's mean colour"


@dataclass(frozen=True, eq=False)
class FaithfulnessScores:
    """What one map was worth on one photo: two curves, and SaCo's coefficient."""

    deletion: Curve
    insertion: Curve
    saco: float

    def figure(self, name: str) -> float:
        """One of FIGURES, as a number."""
        found = getattr(self, name)
        return found.area if isinstance(found, Curve) else found


@dataclass(frozen=True, eq=False)
class ScoresVsRandom:
    """A map's marks, and beside them those of noise."""

    scores: FaithfulnessScores
    control: FaithfulnessScores
    drops: bool
    bfloat16: bool = False

    @property
    def steps(self) -> int:
        """How many steps the curves have: fewer than asked for on a grid with fewer patches."""
        return len(self.scores.deletion.shares) - 1

    def better(self, name: str) -> bool:
        """Whether the map does better than noise in one of FIGURES."""
        mine, noise = self.scores.figure(name), self.control.figure(name)
        return mine > noise if FIGURES[name] else mine < noise

    def as_json(self) -> dict[str, Any]:
        """Every figure of the map and of the control."""
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
    case: MaskedClassifier,
    maps: Mapping[str, Float[Tensor, "rows cols"]],
    steps: int = STEPS,
    groups: int = GROUPS,
) -> dict[str, FaithfulnessScores]:
    """Every figure of every map of one photo; all maps go through the model together."""
    stacked = torch.stack(list(maps.values())).float()
    lines = zip(
        deletion(case, stacked, steps),
        insertion(case, stacked, steps),
        saco(case, stacked, groups),
        strict=True,
    )
    return {name: FaithfulnessScores(*line) for name, line in zip(maps, lines, strict=True)}


def scores_vs_random(
    case: MaskedClassifier,
    heatmap: Float[Tensor, "rows cols"],
    steps: int = QUICK_STEPS,
    groups: int = GROUPS,
) -> ScoresVsRandom:
    """The quick form for one map: its marks and those of one noise map."""
    noise = METHODS[CONTROL](case.traced, torch.tensor([case.target]), {"seed": CONTROL_SEED})[0]
    scores = score_one_map(case, {"map": heatmap, CONTROL: noise}, steps, groups)
    return ScoresVsRandom(scores["map"], scores[CONTROL], case.drops, case.bfloat16)
