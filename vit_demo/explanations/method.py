"""One row of the table of explanations, and the options that a person can set."""

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
    """Something that a method can be told: a whole number, a number, or one of the `choices`."""

    name: str
    default: Value
    choices: tuple[str, ...] = ()

    def read(self, given: Value) -> Value:
        """The value as the method takes it; text is read as a number where one is wanted.

        Raises OptionError for what is none.
        """
        if self.choices:
            if given not in self.choices:
                raise OptionError(
                    f"{self.name}={given}, but it is one of: {', '.join(self.choices)}."
                )
            return given
        whole = isinstance(self.default, int)
        allowed = (int, str) if whole else (int, float, str)
        try:
            if isinstance(given, bool) or not isinstance(given, allowed):
                raise ValueError
            return int(given) if whole else float(given)
        except ValueError as error:
            kind = "a whole number" if whole else "a number"
            raise OptionError(
                f"{self.name}={given}, but it is {kind}; write it like {self.name}={self.default}."
            ) from error


def _fits(model: Subject) -> str | None:
    del model
    return None


def _as_they_are(model: Subject) -> Options:
    del model
    return {}


# Of a map whose patches sum to one.
SHARE = "share per patch"


@dataclass(frozen=True)
class Method:
    """One explanation, with what its reader must know before believing it.

    `class_specific` maps change with the class asked about; `signed` ones have negative values,
    the others are non-negative and sum to one. Where a model's flows are an approximation, so is
    a map that `follows_flows`. `cost` is in forward passes of the model. A method that
    `needs_gradients` starts from a pass with its graph, which ends with the call.

    `unit` says what the map's values are, `reading` what to know of such a map, and `heading` what
    a slide says above it; `percent` whether a value is written as a percentage.
    `unsupported_reason` asks a model, or its class alone, why it does not fit; None where it does.
    `recommended_options` says which defaults suit a model better. `account` gives the rest of the
    sum that a map is a part of, for each photo. `passes` is there for methods that run the model
    many times: how often on a grid with some options. Their `run` takes `between`.
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
    unsupported_reason: Callable[[Subject], str | None] = _fits
    recommended_options: Callable[[Subject], Options] = _as_they_are
    passes: Callable[[Grid, Options], int] | None = None
    account: Callable[[TracedPass, Int[Tensor, " b"]], list[Account]] | None = None

    @property
    def declared_options(self) -> tuple[Option, ...]:
        """What the method can be told: its keyword-only parameters."""
        return tuple(
            Option(name, parameter.default, tuple(map(str, get_args(parameter.annotation))))
            for name, parameter in inspect.signature(self.run).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        )

    @property
    def defaults(self) -> dict[str, Value]:
        """The options when nothing is said, of the method or of the model."""
        return {knob.name: knob.default for knob in self.declared_options}

    def options(self, given: Options, model: Subject | None = None) -> dict[str, Value]:
        """All options: the `given` ones, else what suits the model, else the defaults.

        Raises OptionError for what does not exist or cannot be read.
        """
        declared_options = {knob.name: knob for knob in self.declared_options}
        for name in given:
            if name not in declared_options:
                known = ", ".join(declared_options) or "none"
                raise OptionError(f"'{self.name}' has no option '{name}'; its options: {known}.")
        read = {name: declared_options[name].read(value) for name, value in given.items()}
        recommended_options = self.recommended_options(model) if model is not None else {}
        return {**self.defaults, **recommended_options, **read}

    def exact(self, exact_flows: bool) -> bool:
        """Whether the map is what it says on a model whose flows are exact, or are not."""
        return exact_flows or not self.follows_flows

    def run_with_trace(
        self, model: Classifier, pixels: Float[Tensor, "b channels h w"]
    ) -> TracedPass:
        """The one pass that this method starts from."""
        return run_with_trace(model, pixels, gradients=self.needs_gradients)

    def __call__(
        self,
        traced: TracedPass,
        target: Int[Tensor, " b"],
        options: Options,
        between: Between | None = None,
    ) -> Heatmap:
        """The maps of a watched batch, without any graph.

        A pass with gradients is good for one answer; given one without where some are needed, the
        model is run again. A method with many `passes` calls `between` after every few of them with
        how many are done and how many there are; what it raises ends the work.
        Raises OptionError for an option, and MethodError for a model, that does not fit.
        """
        complete = self.options(options, traced.model)
        if reason := self.unsupported_reason(traced.model):
            raise MethodError(f"'{self.name}' does not fit this checkpoint: {reason}.")
        if self.needs_gradients and not traced.trace.gradients:
            traced = self.run_with_trace(traced.model, traced.pixels)
        with torch.no_grad():
            if self.passes is not None:
                return self.run(traced, target, between, **complete)
            return self.run(traced, target, **complete)
