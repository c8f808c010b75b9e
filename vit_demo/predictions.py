"""From logits to ranked classes with label and probability, and looking up one class."""

from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from vit_demo.errors import LISTED, TargetError, nearest

# How a model's outputs are read: logits of exclusive classes (softmax), logits of independent
# classes (sigmoid), or predicted values.
Problem = Literal["single_label", "multi_label", "regression"]

# Prefix of a target that is an index, for checkpoints whose labels are numbers.
BY_INDEX = "index:"


@dataclass(frozen=True)
class Prediction:
    """One class with its probability; for regression, with the value that the model predicts.

    Exactly one of `probability` and `value` is None.
    """

    index: int
    label: str
    probability: float | None
    value: float | None = None

    def written(self, digits: int = 0) -> str:
        """The probability in percent with that many digits, or the value, as text."""
        if self.probability is not None:
            return f"{self.probability:.{digits}%}"
        return f"{self.value:.4g}".replace("-", "\u2212")

    def as_json(self) -> dict[str, Any]:
        """As one JSON object; only a regression has a `value`."""
        value = {} if self.value is None else {"value": self.value}
        return {"index": self.index, "label": self.label, "probability": self.probability, **value}


def scores(
    logits: Float[Tensor, "*photos classes"], problem: Problem, temperature: float = 1.0
) -> Float[Tensor, "*photos classes"]:
    """The displayed scores: probabilities at that temperature, or the values of a regression."""
    match problem:
        case "single_label":
            return (logits / temperature).softmax(dim=-1)
        case "multi_label":
            return (logits / temperature).sigmoid()
        case "regression":
            return logits


def rank(
    logits: Float[Tensor, " classes"],
    labels: tuple[str, ...],
    temperature: float = 1.0,
    problem: Problem = "single_label",
) -> tuple[Prediction, ...]:
    """All classes, the highest score first."""
    found = scores(logits, problem, temperature)
    order = found.argsort(descending=True, stable=True).tolist()
    if problem == "regression":
        return tuple(Prediction(i, labels[i], None, float(found[i])) for i in order)
    return tuple(Prediction(i, labels[i], float(found[i])) for i in order)


def find_class(target: str | int, ranked: tuple[Prediction, ...]) -> Prediction:
    """The class with that label or index; labels are tried first, `index:3` is always an index.

    Raises TargetError when there is no such class (the message suggests the nearest label), and
    when several classes have that label.
    """
    by_index = {prediction.index: prediction for prediction in ranked}
    if isinstance(target, str):
        matches = sorted((p for p in ranked if p.label == target), key=lambda p: p.index)
        if len(matches) > 1:
            raise TargetError(_ambiguous(target, matches))
        if matches:
            return matches[0]
        number = target.removeprefix(BY_INDEX)
        if not (number.isascii() and number.isdecimal()):
            labels = list(dict.fromkeys(prediction.label for prediction in ranked))
            raise TargetError(f"This checkpoint has no class '{target}'; {nearest(target, labels)}")
        target = int(number)
    if target not in by_index:
        raise TargetError(
            f"There is no class {target}; this checkpoint's classes are 0 to {len(ranked) - 1}."
        )
    return by_index[target]


def _ambiguous(label: str, matches: list[Prediction]) -> str:
    """The error message for a label of several classes, with their indices and scores."""
    listed = [f"{each.index} ({each.written(1)})" for each in matches[:LISTED]]
    more = f" and {len(matches) - LISTED} more" if len(matches) > LISTED else ""
    indices = f"{', '.join(listed[:-1])} and {listed[-1]}" if not more else ", ".join(listed) + more
    return (
        f"'{label}' is the label of classes {indices}; give the index, as in "
        f"{BY_INDEX}{matches[0].index}."
    )
