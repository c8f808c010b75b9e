"""What each method can say about a model: most of it known before any weights are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vit_demo.explanations import METHODS, Method
from vit_demo.explanations.method import Value
from vit_demo.models.base import Subject, described


@dataclass(frozen=True)
class Capability:
    """One method beside one model, or one architecture.

    `exact` says whether the map is no approximation, `unsupported_reason` why the method does not
    fit, or None.
    """

    method: Method
    exact: bool
    unsupported_reason: str | None
    options: Mapping[str, Value]

    def as_json(self) -> dict[str, Any]:
        """As `methods --json` prints it."""
        method = self.method
        return {
            "name": method.name,
            "summary": method.summary,
            "source": method.source,
            "class_specific": method.class_specific,
            "signed": method.signed,
            "cost": method.cost,
            "fits": self.unsupported_reason is None,
            "why_not": self.unsupported_reason,
            "exact": self.exact,
            "options": dict(self.options),
            "choices": {
                knob.name: list(knob.choices) for knob in method.declared_options if knob.choices
            },
        }


def capabilities(model: Subject, methods: Mapping[str, Method] = METHODS) -> tuple[Capability, ...]:
    """Every method of the table, in its order; an architecture has no options of its own."""
    architecture, config = described(model)
    return tuple(
        Capability(
            method,
            method.exact(architecture.exact_flows),
            method.unsupported_reason(model),
            method.options({}, None if config is None else model),
        )
        for method in methods.values()
    )
