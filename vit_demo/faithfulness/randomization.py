"""Randomisation: a map that shows what a model learnt must change when that is taken away."""

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

# What a parameter belongs to: the innermost numbered part of its name, or else the first word.
NUMBERED = re.compile(r"^(.*\.\d+)\.")


@dataclass(frozen=True)
class MapSimilarity:
    """How like the first map is the one after everything up to `part` was made random.

    `value` is Spearman's rank correlation over the patches; None where nothing of a map was left.
    """

    part: str
    value: float | None


def parts_of(model: nn.Module) -> list[str]:
    """The parts of a model that hold parameters, the last declared first: "head", "norm" …

    That is from the head down, but for what a model declares out of its order. What is no
    parameter, like the statistics of a batch norm, is never forgotten.
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
    """The map again and again, while the parts are made random one after the other, head first.

    Adebayo et al. 2018, arXiv 1810.03292: 1 means that the map does not depend on what was learnt
    there. The model itself is left alone; a copy is changed. `parts` says after which of
    `parts_of` to look, all if left out. Raises ConfigError for a part that the model has not.
    """
    known = parts_of(model)
    for part in parts or ():
        if part not in known:
            raise ConfigError(f"The model has no part '{part}'; {nearest(part, known)}")
    asked = torch.tensor([target])
    before = method(method.run_with_trace(model, pixels), asked, options)[0]
    changed = deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for part in known:
        _randomise(changed, part, generator)
        if parts is None or part in parts:
            try:
                after = method(method.run_with_trace(changed, pixels), asked, options)[0]
            except MethodError:
                found.append(MapSimilarity(part, None))
            else:
                found.append(MapSimilarity(part, rank_correlation(before, after)))
    return found


def rank_correlation(
    one: Float[Tensor, "rows cols"], other: Float[Tensor, "rows cols"]
) -> float | None:
    """Spearman's: how alike two maps order the patches, from −1 to 1; None for an even map."""
    ranks = torch.stack([_ranks(one.flatten()), _ranks(other.flatten())])
    if (ranks.amin(dim=1) == ranks.amax(dim=1)).any():
        return None
    return float(torch.corrcoef(ranks)[0, 1])


def _ranks(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Places by value; equal values share the mean of theirs."""
    _, places, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(dim=0).double()
    return (last - (counts - 1) / 2)[places]


def _part(name: str) -> str:
    numbered = NUMBERED.match(name)
    return numbered[1] if numbered else name.split(".")[0]


def _randomise(model: nn.Module, part: str, generator: torch.Generator) -> None:
    """Noise of each tensor's own mean and spread: what was learnt goes, the scale stays."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if _part(name) == part:
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                spread, mean = torch.std_mean(parameter.float(), correction=0)
                parameter.copy_(mean + spread * noise)
