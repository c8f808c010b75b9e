"""All explanation methods, with one signature, in one table.

A method takes a traced pass and the target classes, and returns one map per photo. Adding a method
takes one file and one row of METHODS.
"""

from vit_demo.errors import MethodError, nearest
from vit_demo.explanations.attention import attention
from vit_demo.explanations.evidence import (
    accounts,
    evidence,
    unsupported_by_evidence,
)
from vit_demo.explanations.legrad import legrad, unsupported_by_legrad
from vit_demo.explanations.method import Method, Option, Options, Value
from vit_demo.explanations.occlusion import number_of_blocks, occlusion, recommended_block
from vit_demo.explanations.random import random
from vit_demo.explanations.relevance import relevance
from vit_demo.explanations.rollout import rollout
from vit_demo.explanations.traced_pass import Heatmap, TracedPass, run_with_trace

__all__ = [
    "DEFAULT_METHOD",
    "METHODS",
    "Heatmap",
    "Method",
    "Option",
    "Options",
    "TracedPass",
    "Value",
    "find_method",
    "run_with_trace",
]

EVERY_CLASS = "The same for every class: it shows where the model looks, not why."

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "rollout",
            rollout,
            "CLS attention rollout: the attention of all layers, multiplied, with the residual "
            "connections.",
            "Abnar & Zuidema 2020, arXiv 2005.00928",
            "1",
            reading=EVERY_CLASS,
        ),
        Method(
            "attention",
            attention,
            "What the CLS token attends to in one layer, all heads or one.",
            "Caron et al. 2021, arXiv 2104.14294",
            "1",
            reading=EVERY_CLASS,
        ),
        Method(
            "relevance",
            relevance,
            "Attention weighted by the gradient of one class, followed through all layers.",
            "Chefer et al. 2021, arXiv 2103.15679",
            "2 (one of them backward)",
            class_specific=True,
            needs_gradients=True,
        ),
        Method(
            "legrad",
            legrad,
            "The gradient of the score of one class with respect to the attention of the last "
            "layers.",
            "Bousselham et al. 2024, arXiv 2404.03214",
            "1, plus part of a backward pass",
            class_specific=True,
            needs_gradients=True,
            unsupported_reason=unsupported_by_legrad,
        ),
        Method(
            "evidence",
            evidence,
            "What each patch adds to the logit of one class through the attention of all layers: "
            "an exact sum.",
            "the logit as a sum over tokens, as in Elhage et al. 2021, A Mathematical Framework "
            "for Transformer Circuits",
            "1, plus part of another",
            unit="evidence, in units of the logit",
            reading="Together with the class token, the MLPs, the embedding and the biases, the "
            "patches sum to the logit of the class minus the mean of all classes. Most of the sum "
            "comes from the last layers, whose tokens already contain information from other "
            "patches.",
            percent=False,
            class_specific=True,
            signed=True,
            unsupported_reason=unsupported_by_evidence,
            account=accounts,
        ),
        Method(
            "occlusion",
            occlusion,
            "How much the probability of one class drops when a block of patches is masked.",
            "Zeiler & Fergus 2014, arXiv 1311.2901",
            "1, plus one per block",
            unit="decrease in probability when the block is masked",
            class_specific=True,
            signed=True,
            follows_flows=False,
            recommended_options=recommended_block,
            passes=number_of_blocks,
        ),
        Method(
            "random",
            random,
            "Random noise, the control for every faithfulness score.",
            "control",
            "0",
            reading="It depends on neither the photo nor the model.",
            heading="a random map, for comparison",
            follows_flows=False,
        ),
    )
}

DEFAULT_METHOD = "rollout"


def find_method(name: str) -> Method:
    """The method of that name; raises MethodError, with a suggestion, if there is none."""
    if name not in METHODS:
        raise MethodError(f"There is no method '{name}'; {nearest(name, list(METHODS))}")
    return METHODS[name]
