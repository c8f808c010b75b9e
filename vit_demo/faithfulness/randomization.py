"""Model randomization: a map that depends on the weights must change when they are randomized."""

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vit_demo.errors import ConfigError, MethodError, nearest
from vit_demo.explanations import Method, Options
from vit_demo.models import Classifier

# The part of a parameter: its name up to the last numbered component, or else the first component.
NUMBERED = re.compile(r"^(.*\.\d+)\.")


@dataclass(frozen=True)
class MapSimilarity:
    """Similarity of the original map to the map after all parts up to `part` were randomized.

    `value` is Spearman's rank correlation over the patches; None if there was no map.
    """

    part: str
    value: float | None


def parts_of(model: nn.Module) -> list[str]:
    """The parts of a model with parameters, in reverse order of declaration: "head", "norm" …

    For most models this is the order from the head down. Buffers, such as the statistics of a
    batch norm, are not randomized.
    """
    ordered: dict[str, None] = {}
    for name, _ in model.named_parameters():
        ordered[_part(name)] = None
    return list(ordered)[::-1]


def randomize_cascade(
    method: Method,
    model: Classifier,
    pixels: Float[Tensor, "1 channels h w"],
    target: int,
    options: Options,
    parts: Sequence[str] | None = None,
    seed: int = 0,
) -> list[MapSimilarity]:
    """Recompute the map while the parts are randomized one after the other, from the head down.

    Adebayo et al. 2018, arXiv 1810.03292: a similarity of 1 means that the map does not depend on
    the randomized weights. The model is not changed; a copy is. `parts` selects after which of
    `parts_of` the map is computed, by default all. Raises ConfigError for an unknown part.
    """
    known = parts_of(model)
    for part in parts or ():
        if part not in known:
            raise ConfigError(f"The model has no part '{part}'; {nearest(part, known)}")
    classes = torch.tensor([target])
    before = method(method.run_with_trace(model, pixels), classes, options)[0]
    changed = deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for part in known:
        _randomize(changed, part, generator)
        if parts is None or part in parts:
            try:
                after = method(method.run_with_trace(changed, pixels), classes, options)[0]
            except MethodError:
                found.append(MapSimilarity(part, None))
            else:
                found.append(MapSimilarity(part, rank_correlation(before, after)))
    return found


def rank_correlation(
    one: Float[Tensor, "rows cols"], other: Float[Tensor, "rows cols"]
) -> float | None:
    """Spearman's rank correlation of two maps, from −1 to 1; None for a constant map."""
    ranks = torch.stack([_ranks(one.flatten()), _ranks(other.flatten())])
    if (ranks.amin(dim=1) == ranks.amax(dim=1)).any():
        return None
    return float(torch.corrcoef(ranks)[0, 1])


def _ranks(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Ranks by value; equal values share the mean of their ranks."""
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(dim=0).double()
    return (last - (counts - 1) / 2)[inverse]


def _part(name: str) -> str:
    numbered = NUMBERED.match(name)
    return numbered[1] if numbered else name.split(".")[0]


def _randomize(model: nn.Module, part: str, generator: torch.Generator) -> None:
    """Replace each tensor by noise with the same mean and standard deviation."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if _part(name) == part:
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                std, mean = torch.std_mean(parameter.float(), correction=0)
                parameter.copy_(mean + std * noise)
