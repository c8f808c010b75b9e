"""One row of the table of methods, and the options that a user can set."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vit_demo.errors import MethodError, OptionError
from vit_demo.explanations.evidence import Account
from vit_demo.explanations.masking import Between, Grid
from vit_demo.explanations.traced_pass import Heatmap, TracedPass, run_with_trace
from vit_demo.models.base import Classifier, Subject

Value = int | float | str
Options = Mapping[str, Value]


@dataclass(frozen=True)
class Option:
    """One option of a method: a whole number, a number, or one of the `choices`."""

    name: str
    default: Value
    choices: tuple[str, ...] = ()

    def read(self, value: Value) -> Value:
        """Convert a value to the option's type; text is parsed as a number where one is needed.

        Raises OptionError for a value that cannot be converted.
        """
        if self.choices:
            if value not in self.choices:
                raise OptionError(
                    f"{self.name}={value}, but it must be one of: {', '.join(self.choices)}."
                )
            return value
        whole = isinstance(self.default, int)
        allowed = (int, str) if whole else (int, float, str)
        try:
            if isinstance(value, bool) or not isinstance(value, allowed):
                raise ValueError
            return int(value) if whole else float(value)
        except ValueError as error:
            kind = "a whole number" if whole else "a number"
            raise OptionError(
                f"{self.name}={value}, but it must be {kind}; "
                f"write it like {self.name}={self.default}."
            ) from error


def _always_supported(model: Subject) -> str | None:
    del model
    return None


def _no_recommendation(model: Subject) -> Options:
    del model
    return {}


# The unit of a map whose patches sum to one.
SHARE = "share per patch"


@dataclass(frozen=True)
class Method:
    """One explanation method and its properties.

    A `class_specific` map depends on the target class. A `signed` map has negative values; other
    maps are non-negative and sum to one. If a model's flows are an approximation, so is every map
    of a method that `follows_flows`. `cost` is in forward passes of the model. A method that
    `needs_gradients` starts from a pass with its graph, which the call frees.

    `unit` names the map's values, `reading` explains how to read such a map, and `heading` is the
    title of a slide; with `percent`, values are written as percentages. `unsupported_reason` says
    why a model, or its class alone, is not supported; None if it is. `recommended_options` gives
    better defaults for a model. `account` gives, for each photo, the complete sum of which the map
    is one term. Methods that run the model many times have `passes`, the number of passes for a
    grid and options, and their `run` takes `between`.
    """

    name: str
    run: Callable[..., Heatmap]
    summary: str
    source: str
    cost: str
    unit: str = SHARE
    reading: str = ""
    heading: str = "where the model looks"
    percent: bool = True
    class_specific: bool = False
    signed: bool = False
    follows_flows: bool = True
    needs_gradients: bool = False
    unsupported_reason: Callable[[Subject], str | None] = _always_supported
    recommended_options: Callable[[Subject], Options] = _no_recommendation
    passes: Callable[[Grid, Options], int] | None = None
    account: Callable[[TracedPass, Int[Tensor, " b"]], list[Account]] | None = None

    @property
    def declared_options(self) -> tuple[Option, ...]:
        """The method's options: the keyword-only parameters of `run`."""
        return tuple(
            Option(name, parameter.default, tuple(map(str, get_args(parameter.annotation))))
            for name, parameter in inspect.signature(self.run).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        )

    @property
    def defaults(self) -> dict[str, Value]:
        """The default options, without the recommendations for a model."""
        return {option.name: option.default for option in self.declared_options}

    def options(self, changes: Options, model: Subject | None = None) -> dict[str, Value]:
        """All options: `changes` first, then the recommendations for the model, then the defaults.

        Raises OptionError for an option that does not exist or a value that cannot be read.
        """
        declared = {option.name: option for option in self.declared_options}
        for name in changes:
            if name not in declared:
                known = ", ".join(declared) or "none"
                raise OptionError(f"'{self.name}' has no option '{name}'; its options: {known}.")
        values = {name: declared[name].read(value) for name, value in changes.items()}
        recommended = self.recommended_options(model) if model is not None else {}
        return {**self.defaults, **recommended, **values}

    def exact(self, exact_flows: bool) -> bool:
        """Whether the map is exact for a model whose flows are exact, or are not."""
        return exact_flows or not self.follows_flows

    def run_with_trace(
        self, model: Classifier, pixels: Float[Tensor, "b channels h w"]
    ) -> TracedPass:
        """Run the pass that this method starts from."""
        return run_with_trace(model, pixels, gradients=self.needs_gradients)

    def __call__(
        self,
        traced: TracedPass,
        target: Int[Tensor, " b"],
        options: Options,
        between: Between | None = None,
    ) -> Heatmap:
        """The maps of a traced batch, without a graph.

        A pass with gradients can be used only once. If the method needs gradients and the pass has
        none, the model is run again. A method with many `passes` calls `between` after every batch
        with the number of passes done and their total; an exception that it raises stops the work.
        Raises OptionError for an invalid option, MethodError for a model that is not supported.
        """
        complete = self.options(options, traced.model)
        if reason := self.unsupported_reason(traced.model):
            raise MethodError(f"'{self.name}' does not support this checkpoint: {reason}.")
        if self.needs_gradients and not traced.trace.gradients:
            traced = self.run_with_trace(traced.model, traced.pixels)
        with torch.no_grad():
            if self.passes is not None:
                return self.run(traced, target, between, **complete)
            return self.run(traced, target, **complete)
