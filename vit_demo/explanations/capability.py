"""Which methods support a model, and how; mostly known before the weights are loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vit_demo.explanations import METHODS, Method
from vit_demo.explanations.method import Value
from vit_demo.models.base import Subject, described


@dataclass(frozen=True)
class Capability:
    """What one method can do for one model or architecture.

    `exact` is False if the map is an approximation. `unsupported_reason` says why the method does
    not support the model; None if it does.
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
                option.name: list(option.choices)
                for option in method.declared_options
                if option.choices
            },
        }


def capabilities(model: Subject, methods: Mapping[str, Method] = METHODS) -> tuple[Capability, ...]:
    """Every method, in the order of the table; a bare architecture gets the default options."""
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
