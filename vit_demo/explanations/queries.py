"""What a single patch attends to: in one layer and head, over all layers, and at which distance.

b       batch                              slots   positions in one group of tokens
heads   attention heads                    rows, cols   the patch grid
groups  groups with separate attention
"""

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from vit_demo import trace
from vit_demo.errors import OptionError
from vit_demo.explanations.attention import EVERY_HEAD, head_rule, layer_at
from vit_demo.explanations.traced_pass import Heatmap, TracedPass
from vit_demo.trace import Attention, Flow, propagate_back

Patch = tuple[int, int]


def patch_attention(
    traced: TracedPass, patch: Patch, layer: int = -1, head: int = EVERY_HEAD
) -> Heatmap:
    """What the token of a patch (row, column, from 0) attends to in one layer; sums to one.

    Layers and heads are numbered from 1; layer −1 is the last one, head 0 the mean over all heads.
    If tokens were merged, it is the token that contains the patch. Raises OptionError for a patch,
    layer or head that does not exist.
    """
    chosen = layer_at(traced, layer)
    before = _before(traced, chosen)
    geometry = [flow for flow in before if not flow.residual]
    weight = _one_token(traced, patch, chosen, before)
    return traced.on_grid(
        propagate_back(geometry, chosen.apply_transpose(weight, head_rule(chosen, layer, head)))
    )


def patch_rollout(traced: TracedPass, patch: Patch, layer: int = -1) -> Heatmap:
    """Which patches the token of a patch depends on after one layer, through all layers before it.

    This is attention rollout (arXiv 2005.00928) that starts at a patch instead of the read-out; it
    sums to one. Numbering and errors are those of `patch_attention`.
    """
    chosen = layer_at(traced, layer)
    before = _before(traced, chosen)
    return traced.on_grid(
        propagate_back([*before, chosen], _one_token(traced, patch, chosen, before))
    )


def all_rollouts(traced: TracedPass, layer: int = -1) -> Float[Tensor, "patches patches"]:
    """`patch_rollout` from every patch of the first photo, for about the cost of one pass.

    Row i, counted row by row over the grid, is the map of patch i.
    """
    chosen = layer_at(traced, layer)
    before = _before(traced, chosen)
    token_of_patch = places(before, chosen.tokens, traced.logits).argmax(dim=0)
    begun = functional.one_hot(token_of_patch, chosen.tokens).to(traced.logits)
    weight = begun.expand(len(traced.logits), -1, -1)
    rows = propagate_back([*before, chosen], weight)[0]
    return rows / rows.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)


def attention_distances(traced: TracedPass, cell: float) -> list[Float[Tensor, "b heads"]]:
    """The mean attention distance of each head of each layer, in pixels; `cell` is a patch's side.

    The distance from query to key, weighted by attention, as in figure 7 of arXiv 2010.11929. A
    token's position is the center of the patches that it contains; tokens without a position
    (class token, registers) are excluded as queries and as keys.
    """
    rows, cols = traced.grid
    positions = torch.cartesian_prod(torch.arange(rows), torch.arange(cols)).to(traced.logits)
    distances = []
    for layer in traced.trace.layers:
        shares = places(_before(traced, layer), layer.tokens, traced.logits)
        total = shares.sum(dim=1)
        tiny = torch.finfo(total.dtype).tiny
        centers = shares @ (cell * positions) / total.clamp(min=tiny)[:, None]
        distances.append(mean_distance(layer, centers, total > 0))
    return distances


def mean_distance(
    layer: Attention, centers: Float[Tensor, "n 2"], has_position: Bool[Tensor, " n"]
) -> Float[Tensor, "b heads"]:
    """The mean attention distance of each head, over all queries that have a position."""
    # The index of a padding slot (−1) selects the extra last entry, which has no position.
    slot_centers = functional.pad(centers, (0, 0, 0, 1))[layer.index]
    real = functional.pad(has_position, (0, 1))[layer.index].to(centers)
    groups, slots = layer.index.shape
    step = max(1, trace.CHUNK_NUMBERS // (len(layer.query) * layer.heads * slots))
    total = centers.new_zeros(len(layer.query) // groups, layer.heads)
    for start in range(0, slots, step):
        rows = slice(start, start + step)
        weights = rearrange(layer.weights(rows), "(b groups) ... -> b groups ...", groups=groups)
        kept = weights * real[:, None, None]
        shares = kept / kept.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(kept.dtype).tiny)
        # The faster mode with a matrix product gives a token a nonzero distance to itself.
        gaps = torch.cdist(
            slot_centers[:, rows], slot_centers, compute_mode="donot_use_mm_for_euclid_dist"
        )
        gaps = gaps * real[:, rows, None]
        total += einsum(shares, gaps, "b groups heads rows slots, groups rows slots -> b heads")
    return total / real.sum()


def places(before: list[Flow], tokens: int, like: Tensor) -> Float[Tensor, "tokens patches"]:
    """Which patches each token contains, by the geometry of the flows before it."""
    identity = torch.eye(tokens, device=like.device, dtype=like.dtype)
    return propagate_back([flow for flow in before if not flow.residual], identity[None])[0]


def _before(traced: TracedPass, layer: Attention) -> list[Flow]:
    return traced.trace.flows[: traced.trace.flows.index(layer)]


def _one_token(
    traced: TracedPass, patch: Patch, layer: Attention, before: list[Flow]
) -> Float[Tensor, "b 1 n"]:
    """Weight one on the token that contains a patch, zero on all others."""
    rows, cols = traced.grid
    if not (0 <= patch[0] < rows and 0 <= patch[1] < cols):
        raise OptionError(
            f"There is no patch {patch}; rows are 0 to {rows - 1} and columns 0 to {cols - 1}."
        )
    shares = places(before, layer.tokens, traced.logits)[:, patch[0] * cols + patch[1]]
    weight = torch.zeros_like(shares)
    weight[shares.argmax()] = 1
    return weight.expand(len(traced.logits), 1, -1)
