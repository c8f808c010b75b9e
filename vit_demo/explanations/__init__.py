"""Every explanation behind one signature, in one table.

An explanation takes a watched pass and the class in question, and gives one map per photo.
Adding one is one file and one row.
"""

from collections.abc import Mapping

from vit_demo.errors import MethodError, nearest
from vit_demo.explanations.attention import attention
from vit_demo.explanations.legrad import legrad, unsupported_by_legrad
from vit_demo.explanations.method import Method, Option, Options, Value
from vit_demo.explanations.occlusion import occlusion, recommended_block
from vit_demo.explanations.random import random
from vit_demo.explanations.relevance import relevance
from vit_demo.explanations.rollout import rollout
from vit_demo.explanations.traced_pass import Classifier, Heatmap, TracedPass, run_with_trace

__all__ = [
    "DEFAULT_METHOD",
    "METHODS",
    "Classifier",
    "Heatmap",
    "Method",
    "Option",
    "Options",
    "TracedPass",
    "Value",
    "find_method",
    "run_with_trace",
]

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(
            "rollout",
            rollout,
            "Follows attention through all layers back to the patches.",
            "Abnar & Zuidema 2020, arXiv 2005.00928",
            "1",
        ),
        Method(
            "attention",
            attention,
            "What the read-out attends to in one layer, all heads or one.",
            "Caron et al. 2021, arXiv 2104.14294",
            "1",
        ),
        Method(
            "relevance",
            relevance,
            "Follows the attention that raises the score of one class through all layers.",
            "Chefer et al. 2021, arXiv 2103.15679",
            "2 (one of them backward)",
            class_specific=True,
            needs_gradients=True,
        ),
        Method(
            "legrad",
            legrad,
            "To which attention weights of the last layers the score of one class answers.",
            "Bousselham et al. 2024, arXiv 2404.03214",
            "1, and part of one backward",
            class_specific=True,
            needs_gradients=True,
            unsupported_reason=unsupported_by_legrad,
        ),
        Method(
            "occlusion",
            occlusion,
            "How far the probability of one class falls when a block of patches is hidden.",
            "Zeiler & Fergus 2014, arXiv 1311.2901",
            "1, and one for every block",
            class_specific=True,
            signed=True,
            follows_flows=False,
            recommended_options=recommended_block,
        ),
        Method(
            "random",
            random,
            "Noise. A map that says no more than this one says nothing.",
            "control",
            "0",
            follows_flows=False,
        ),
    )
}

DEFAULT_METHOD = "rollout"


def find_method(name: str) -> Method:
    """The method of that name; raises MethodError, with the likely one, when there is none."""
    if name not in METHODS:
        raise MethodError(f"There is no method '{name}'; {nearest(name, list(METHODS))}")
    return METHODS[name]
