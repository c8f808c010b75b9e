"""What each method can say about a model: known from its class, before any weights are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vit_demo.explanations import METHODS, Method
from vit_demo.models import Model


@dataclass(frozen=True)
class Capability:
    """One method beside one architecture; `exact` says whether the map is no approximation."""

    method: Method
    exact: bool

    def as_json(self) -> dict[str, Any]:
        """As `methods --json` prints it."""
        return {
            "name": self.method.name,
            "summary": self.method.summary,
            "source": self.method.source,
            "class_specific": self.method.class_specific,
            "signed": self.method.signed,
            "fits": True,
            "why_not": None,
            "exact": self.exact,
            "options": self.method.defaults,
        }


def capabilities(
    model: type[Model], methods: Mapping[str, Method] = METHODS
) -> tuple[Capability, ...]:
    """Every method of the table, in its order; all of them fit every model that is read here."""
    return tuple(Capability(method, model.exact_flows) for method in methods.values())
