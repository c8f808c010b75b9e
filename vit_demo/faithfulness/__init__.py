"""Faithfulness of a map: deletion, insertion, SaCo and randomization, compared with noise."""

from vit_demo.faithfulness.benchmark import Benchmark, Mean, benchmark, compared
from vit_demo.faithfulness.curves import Curve
from vit_demo.faithfulness.map_scores import (
    AUTOMATIC_STEPS,
    CONTROL,
    FIGURES,
    QUICK_STEPS,
    STEPS,
    FaithfulnessScores,
    ScoresVsRandom,
    score_one_map,
    scores_vs_random,
)
from vit_demo.faithfulness.masked_classifier import MaskedClassifier
from vit_demo.faithfulness.randomization import MapSimilarity, parts_of, randomize_cascade

__all__ = [
    "AUTOMATIC_STEPS",
    "CONTROL",
    "FIGURES",
    "QUICK_STEPS",
    "STEPS",
    "Benchmark",
    "Curve",
    "FaithfulnessScores",
    "MapSimilarity",
    "MaskedClassifier",
    "Mean",
    "ScoresVsRandom",
    "benchmark",
    "compared",
    "parts_of",
    "randomize_cascade",
    "score_one_map",
    "scores_vs_random",
]
