"""A forward pass that was watched: what every explanation starts from."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from vit_demo.flow import Trace

Heatmap = Float[Tensor, "b rows cols"]


@runtime_checkable
class Classifier(Protocol):
    """Any of our models: pixels to logits, watched on request."""

    def __call__(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]: ...


@dataclass(frozen=True, eq=False)
class Watched:
    """One pass over a batch: what went in, what came out, and what moved where."""

    model: Classifier
    pixels: Float[Tensor, "b channels h w"]
    logits: Float[Tensor, "b classes"]
    trace: Trace

    @property
    def read_out(self) -> Float[Tensor, "b 1 1"]:
        """Weight one on the read-out of every photo: where every method begins."""
        return self.logits.new_ones(len(self.logits), 1, 1)

    def on_grid(self, weight: Float[Tensor, "b 1 n"]) -> Heatmap:
        """Weights on the patches as a map that sums to one.

        What had gone to prefix tokens is lost on the way, so the rest is brought back to one.
        """
        rows, _ = self.grid
        heatmap = rearrange(weight, "b 1 (rows cols) -> b rows cols", rows=rows)
        return heatmap / heatmap.sum(dim=(1, 2), keepdim=True)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        if self.trace.grid is None:
            raise RuntimeError("The model recorded no grid; its forward must call trace.begin().")
        return self.trace.grid


def watch(model: Classifier, pixels: Float[Tensor, "b channels h w"]) -> Watched:
    """Run the model once and keep what it moved; the logits are those of an unwatched pass."""
    trace = Trace()
    with torch.no_grad():
        logits = model(pixels, trace)
    return Watched(model, pixels, logits, trace)
