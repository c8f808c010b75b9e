"""Every explanation behind one signature, in one table.

An explanation takes a watched pass and the class in question, and gives one map per photo.
Adding one is one file and one row.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from vit_demo.errors import MethodError, OptionError, nearest
from vit_demo.explanations.attention import attention
from vit_demo.explanations.random import random
from vit_demo.explanations.rollout import rollout
from vit_demo.explanations.watched import Classifier, Heatmap, Watched, watch

__all__ = ["DEFAULT_METHOD", "METHODS", "Classifier", "Heatmap", "Method", "Watched", "watch"]

Options = Mapping[str, int]


@dataclass(frozen=True)
class Method:
    """One explanation, with what its reader must know before believing it.

    `class_specific` maps change with the class asked about; `signed` ones have negative values,
    the others are non-negative and sum to one.
    """

    name: str
    run: Callable[..., Heatmap]
    summary: str
    source: str
    class_specific: bool = False
    signed: bool = False

    @property
    def defaults(self) -> dict[str, int]:
        """The method's options and their values when nothing is said."""
        return {
            name: parameter.default
            for name, parameter in inspect.signature(self.run).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }

    def options(self, given: Options) -> dict[str, int]:
        """All options, `given` ones first; raises OptionError for one that does not exist."""
        for name in given:
            if name not in self.defaults:
                known = ", ".join(self.defaults) or "none"
                raise OptionError(f"'{self.name}' has no option '{name}'; its options: {known}.")
        return {**self.defaults, **given}

    def __call__(self, watched: Watched, target: Int[Tensor, " b"], options: Options) -> Heatmap:
        """The maps of a watched batch; raises OptionError for an option that does not fit."""
        return self.run(watched, target, **self.options(options))


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(
            "rollout",
            rollout,
            "Follows attention through all layers back to the patches.",
            "Abnar & Zuidema 2020, arXiv 2005.00928",
        ),
        Method(
            "attention",
            attention,
            "What the read-out attends to in one layer, all heads or one.",
            "Caron et al. 2021, arXiv 2104.14294",
        ),
        Method(
            "random",
            random,
            "Noise. A map that says no more than this one says nothing.",
            "control",
        ),
    )
}

DEFAULT_METHOD = "rollout"


def find_method(name: str) -> Method:
    """The method of that name; raises MethodError, with the likely one, when there is none."""
    if name not in METHODS:
        raise MethodError(f"There is no method '{name}'; {nearest(name, list(METHODS))}")
    return METHODS[name]
