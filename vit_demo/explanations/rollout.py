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
    """Pull the read-out through ½Ā + ½I from the last layer to the first (arXiv 2005.00928).

    Ā is the mean over the heads. The map is the same for every class, so `target` plays no part.

    `fusion` takes the heads' largest or smallest weight instead. `discard_ratio` leaves out that
    share of every row of Ā, its smallest entries; a token that is read out keeps its own. After
    either, the rows of Ā sum to one again, and only then comes the identity. Attention is
    followed back to `start_layer`, counted from 1. Raises OptionError outside the model.
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
        read = {flow: (weight > 0).any(dim=(0, 1)) for flow, weight in traced.residual_weights()}
        rule = fused(fusion, discard_ratio, read)
    return traced.on_grid(propagate_back(flows, traced.read_out, rule))


def fused(
    fusion: Fusion, discard_ratio: float, read: Mapping[Flow, Bool[Tensor, " n_out"]]
) -> Rule:
    """One mixing of all heads, without its smallest entries; every row is a distribution.

    `read` says of each flow which of its outputs the read-out rests on: they keep themselves.
    """

    def rule(flow: Attention, rows: slice) -> Float[Tensor, "bg rows slots"]:
        mixing = flow.on_tokens(
            reduce(flow.weights(rows), "bg heads rows slots -> bg rows slots", fusion)
        )
        if discard_ratio:
            mixing = mixing * _kept(flow, mixing, rows, discard_ratio, read[flow])
        return mixing / mixing.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(mixing.dtype).tiny)

    return rule


def _kept(
    flow: Attention,
    mixing: Float[Tensor, "bg rows slots"],
    rows: slice,
    discard_ratio: float,
    read: Bool[Tensor, " n_out"],
) -> Bool[Tensor, "bg rows slots"]:
    """Which entries of the rows stay: all but the smallest share of those on real tokens."""
    groups, slots = flow.index.shape
    real = flow.index != PADDING
    spared = ~real[:, None].expand(-1, mixing.shape[1], -1)
    if flow.outputs is None:
        own = eye(slots, dtype=torch.bool, device=real.device)[rows]
        spared = spared | (own & (real & read[flow.index])[:, rows, None])
    every = repeat(spared, "groups rows slots -> (b groups) rows slots", b=len(mixing) // groups)
    places = mixing.masked_fill(every, torch.inf).argsort(dim=-1).argsort(dim=-1)
    dropped = (reduce(real.double(), "groups slots -> groups", "sum") * discard_ratio).long()
    return places >= rearrange(dropped.repeat(len(mixing) // groups), "bg -> bg 1 1")


def token_rollout(trace: Trace, batch: int = 1) -> Float[Tensor, "b n n"]:
    """Rollout for every token at once: row i says where token i's final state came from.

    Only the attention layers are followed, so prefix tokens keep their columns; rows sum to one.
    """
    layers = trace.layers
    identity = eye(layers[-1].tokens, device=layers[-1].query.device)
    return propagate_back(layers, identity.expand(batch, -1, -1))
