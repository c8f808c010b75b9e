"""Attention rollout: how much of each patch reaches the read-out through all layers."""

from collections.abc import Mapping
from typing import Literal

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, eye

from vit_demo.errors import OptionError
from vit_demo.explanations.traced_pass import Heatmap, TracedPass
from vit_demo.trace import PADDING, Attention, Flow, Rule, Trace, mean_heads, propagate_back

Fusion = Literal["mean", "max", "min"]


def rollout(
    traced: TracedPass,
    target: Int[Tensor, " b"],
    *,
    fusion: Fusion = "mean",
    discard_ratio: float = 0.0,
    start_layer: int = 1,
) -> Heatmap:
    """Propagate the read-out through ½Ā + ½I from the last layer to the first (arXiv 2005.00928).

    Ā is the mean over the heads. The map is the same for every class, so `target` is ignored.

    `fusion` takes the maximum or minimum over the heads instead. `discard_ratio` sets that share
    of the smallest entries in every row of Ā to zero; a token that the head reads keeps its
    attention to itself. After either, the rows of Ā are normalized to one before the identity is
    added. The propagation stops at `start_layer`, numbered from 1. Raises OptionError for values
    out of range.
    """
    del target
    if not 0 <= discard_ratio < 1:
        raise OptionError(f"discard_ratio={discard_ratio:g}, but it must lie in [0, 1).")
    layers = traced.trace.layers
    if not 1 <= start_layer <= len(layers):
        raise OptionError(
            f"start_layer={start_layer}, but this checkpoint has layers 1 to {len(layers)}."
        )
    skipped = layers[: start_layer - 1]
    flows = [flow for flow in traced.trace.flows if flow not in skipped]
    rule = mean_heads
    if fusion != "mean" or discard_ratio:
        is_read = {flow: (weight > 0).any(dim=(0, 1)) for flow, weight in traced.residual_weights()}
        rule = fused(fusion, discard_ratio, is_read)
    return traced.on_grid(propagate_back(flows, traced.read_out, rule))


def fused(
    fusion: Fusion, discard_ratio: float, is_read: Mapping[Flow, Bool[Tensor, " n_out"]]
) -> Rule:
    """A rule that fuses the heads and discards small entries; every row is a distribution.

    `is_read` says, for each flow, which outputs the head reads through residual connections only;
    these tokens keep their attention to themselves.
    """

    def rule(flow: Attention, rows: slice) -> Float[Tensor, "bg rows slots"]:
        mixing = flow.on_tokens(
            reduce(flow.weights(rows), "bg heads rows slots -> bg rows slots", fusion)
        )
        if discard_ratio:
            mixing = mixing * _kept(flow, mixing, rows, discard_ratio, is_read[flow])
        return mixing / mixing.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(mixing.dtype).tiny)

    return rule


def _kept(
    flow: Attention,
    mixing: Float[Tensor, "bg rows slots"],
    rows: slice,
    discard_ratio: float,
    is_read: Bool[Tensor, " n_out"],
) -> Bool[Tensor, "bg rows slots"]:
    """Which entries of the rows are kept: all but the smallest ones on real tokens."""
    groups, slots = flow.index.shape
    real = flow.index != PADDING
    protected = ~real[:, None].expand(-1, mixing.shape[1], -1)
    if flow.outputs is None:
        own = eye(slots, dtype=torch.bool, device=real.device)[rows]
        protected = protected | (own & (real & is_read[flow.index])[:, rows, None])
    batch = len(mixing) // groups
    protected = repeat(protected, "groups rows slots -> (b groups) rows slots", b=batch)
    ranks = mixing.masked_fill(protected, torch.inf).argsort(dim=-1).argsort(dim=-1)
    discarded = (reduce(real.double(), "groups slots -> groups", "sum") * discard_ratio).long()
    return ranks >= rearrange(discarded.repeat(batch), "bg -> bg 1 1")


def token_rollout(trace: Trace, batch: int = 1) -> Float[Tensor, "b n n"]:
    """Rollout for all tokens at once: row i says which tokens token i's final state depends on.

    It uses only the attention layers, so prefix tokens keep their columns; rows sum to one.
    """
    layers = trace.layers
    identity = eye(layers[-1].tokens, device=layers[-1].query.device)
    return propagate_back(layers, identity.expand(batch, -1, -1))
