"""From logits to ranked classes with label and probability, and looking up one class."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vit_demo.errors import TargetError, nearest


@dataclass(frozen=True)
class Prediction:
    """One class and the probability that the model gives it."""

    index: int
    label: str
    probability: float


def rank(
    logits: Float[Tensor, " classes"], labels: tuple[str, ...], temperature: float = 1.0
) -> tuple[Prediction, ...]:
    """All classes, most likely first, with the softmax of logits / temperature."""
    probabilities = (logits / temperature).softmax(dim=-1)
    order = probabilities.argsort(descending=True, stable=True).tolist()
    return tuple(Prediction(i, labels[i], float(probabilities[i])) for i in order)


def find_class(target: str | int, ranked: tuple[Prediction, ...]) -> Prediction:
    """The class with that label or index.

    Raises TargetError when there is no such class (the message suggests the nearest label), and
    when several classes have that label.
    """
    by_index = {prediction.index: prediction for prediction in ranked}
    if isinstance(target, str):
        matches = sorted((p for p in ranked if p.label == target), key=lambda p: p.index)
        if len(matches) > 1:
            indices = " and ".join(str(match.index) for match in matches)
            raise TargetError(f"'{target}' is the label of classes {indices}; give the index.")
        if matches:
            return matches[0]
        if not target.isdecimal():
            labels = list(dict.fromkeys(prediction.label for prediction in ranked))
            raise TargetError(f"This checkpoint has no class '{target}'; {nearest(target, labels)}")
        target = int(target)
    if target not in by_index:
        raise TargetError(
            f"There is no class {target}; this checkpoint's classes are 0 to {len(ranked) - 1}."
        )
    return by_index[target]
