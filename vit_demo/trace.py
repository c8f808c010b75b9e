"""Attention as a linear operator: what a traced forward pass records, and its transpose.

    b        batch                          q        weight vectors propagated together
    heads    attention heads                slots    positions in one group of tokens
    groups   groups with separate attention d        width of one head
    n_in, n_out   tokens before and after   children tokens that are merged into one token

Every supported architecture moves information between tokens by linear mixings. A traced forward
pass records them in order, as one of two kinds of flow: `Attention`, whose weights depend on the
photo, and `LinearMixing`, whose weights are fixed by geometry. Neither this module nor any method
built on it mentions an architecture by name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from vit_demo.errors import ConfigError

# Attention weights are computed a few query rows at a time. This limits the number of elements in
# memory at once, so that memory use stays constant from 14×14 patches to 64×64.
CHUNK_NUMBERS = 4_000_000

PADDING = -1

Rule = Callable[["Attention", slice], Float[Tensor, "bg rows slots"]]


@runtime_checkable
class Flow(Protocol):
    """One linear mixing of tokens."""

    @property
    def residual(self) -> bool:
        """Whether an additive residual connection bypasses the mixing."""
        ...

    def apply_transpose(
        self, weight: Float[Tensor, "b q n_out"], rule: Rule
    ) -> Float[Tensor, "b q n_in"]:
        """Map weights on the outputs to weights on the inputs: the adjoint of the mixing."""
        ...


@runtime_checkable
class Bias(Protocol):
    """What is added to the scores, formed a few query rows at a time."""

    def rows(self, rows: slice) -> Float[Tensor, "#groups heads rows slots"]:
        """The rows of some queries."""
        ...


@dataclass(frozen=True, eq=False)
class Attention:
    """One attention layer, stored as the tensors it was computed from (references, not copies).

    The fused kernel never computes the attention weights; `weights` computes them from query and
    key on demand. `index` says which token is in which slot of which group; dense attention is one
    group with every token. `outputs` says which output token each query produces; None means that
    every slot produces the token it contains. `bias` is added to the scores and is the same for
    every photo; −∞ excludes a slot. A bias over all pairs of tokens is a `Bias`, which computes
    its rows on demand: as a tensor it would keep n × n numbers per head after its layer.
    """

    query: Float[Tensor, "bg heads queries d"]
    key: Float[Tensor, "bg heads slots d"]
    value: Float[Tensor, "bg heads slots d_value"]
    attn_output: Float[Tensor, "bg heads queries d_value"]
    index: Int[Tensor, "groups slots"]
    tokens: int
    scale: float
    bias: Float[Tensor, "#groups heads slots slots"] | Bias | None = None
    residual: bool = True
    outputs: Int[Tensor, "groups queries"] | None = None

    @property
    def heads(self) -> int:
        """The number of attention heads."""
        return self.query.shape[1]

    @cached_property
    def dense(self) -> bool:
        """Whether there is one group that contains all tokens in order."""
        in_order = torch.arange(self.tokens, device=self.index.device)[None]
        return self.outputs is None and torch.equal(self.index, in_order)

    def weights(self, rows: slice = slice(None)) -> Float[Tensor, "bg heads rows slots"]:
        """softmax(QKᵀ · scale + bias) of the selected query rows (arXiv 1706.03762)."""
        scores = (self.scale * self.query[:, :, rows]) @ self.key.mT
        if self.bias is not None:
            grouped = rearrange(scores, "(b groups) ... -> b groups ...", groups=len(self.index))
            bias = self.bias
            added = bias[:, :, rows] if isinstance(bias, Tensor) else bias.rows(rows)
            scores = rearrange(grouped + added, "b groups ... -> (b groups) ...")
        return scores.softmax(dim=-1)

    def on_tokens(self, mixing: Float[Tensor, "bg rows slots"]) -> Float[Tensor, "bg rows slots"]:
        """The mixing without its padding slots, with every row normalized to a sum of one.

        A row can be all zeros if it belongs to a padding slot; no weight is ever placed there.
        """
        real = self.index != PADDING
        if self.dense or real.all():
            return mixing
        grouped = rearrange(mixing, "(b groups) ... -> b groups ...", groups=len(self.index))
        kept = rearrange(grouped * real[:, None], "b groups ... -> (b groups) ...")
        return kept / kept.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(kept.dtype).tiny)

    def apply_transpose(
        self, weight: Float[Tensor, "b q n_out"], rule: Rule
    ) -> Float[Tensor, "b q n_in"]:
        """Map weights on the output tokens to weights on the input tokens.

        `rule` combines the heads' attention weights of some rows into one mixing matrix. Only rows
        with a nonzero weight are computed, so one class token costs one row.
        """
        if self.dense:
            return self._transpose_slots(weight, rule)
        groups = len(self.index)
        # The index of a padding slot (−1) selects the extra column of zeros.
        on_queries = rearrange(
            functional.pad(weight, (0, 1))[
                :, :, self.index if self.outputs is None else self.outputs
            ],
            "b q groups queries -> (b groups) q queries",
        )
        on_slots = self._transpose_slots(on_queries, rule)
        return _sum_by_token(
            rearrange(on_slots, "(b groups) q slots -> b q (groups slots)", groups=groups),
            rearrange(self.index, "groups slots -> (groups slots)"),
            self.tokens,
        )

    def _transpose_slots(
        self, weight: Float[Tensor, "bg q queries"], rule: Rule
    ) -> Float[Tensor, "bg q slots"]:
        """Map weights on the queries to weights on the slots, a chunk of rows at a time."""
        slots = self.index.shape[1]
        nonzero = weight.detach().abs().amax(dim=(0, 1)).nonzero()
        total = weight.new_zeros(*weight.shape[:2], slots)
        if len(nonzero):
            first, end = int(nonzero[0]), int(nonzero[-1]) + 1
            step = max(1, CHUNK_NUMBERS // (weight.shape[0] * self.heads * slots))
            for start in range(first, end, step):
                rows = slice(start, min(start + step, end))
                total = total + weight[:, :, rows] @ rule(self, rows)
        return total


@dataclass(frozen=True, eq=False)
class LinearMixing:
    """Fixed geometry: every output token is a weighted sum of its children.

    `share` has the weights of the children. The weight of a token without children (a class token
    that is added at this point) is dropped.
    """

    index: Int[Tensor, "n_out children"]
    share: Float[Tensor, "n_out children"]
    tokens: int
    residual: bool = False

    def apply_transpose(
        self, weight: Float[Tensor, "b q n_out"], rule: Rule
    ) -> Float[Tensor, "b q n_in"]:
        """Distribute each token's weight over its children by their shares; ignores `rule`."""
        del rule
        parts = einsum(
            weight, self.share.to(weight), "b q n_out, n_out children -> b q n_out children"
        )
        return _sum_by_token(
            rearrange(parts, "b q n_out children -> b q (n_out children)"),
            rearrange(self.index, "n_out children -> (n_out children)"),
            self.tokens,
        )


def _sum_by_token(
    parts: Float[Tensor, "b q positions"], index: Int[Tensor, " positions"], tokens: int
) -> Float[Tensor, "b q tokens"]:
    """Sum the parts that belong to each token; parts on padding are dropped."""
    extra_column = index.remainder(tokens + 1)
    total = parts.new_zeros(*parts.shape[:2], tokens + 1)
    return total.index_add(2, extra_column, parts)[:, :, :tokens]


@dataclass
class Trace:
    """A record of how one forward pass moved information between tokens.

    Pass an empty trace to the model and read it afterwards; each pass needs a new one. The first
    flow starts at the patch grid and the last one is the read-out, so every method starts from a
    weight of one. With `gradients` the pass keeps its autograd graph. With `gradients` or
    `hidden_states`, `outputs` contains the tokens after each layer, for models whose head can read
    them there.
    """

    flows: list[Flow] = field(default_factory=list)
    grid: tuple[int, int] | None = None
    gradients: bool = False
    hidden_states: bool = False
    outputs: dict[Attention, Float[Tensor, "b n d"]] = field(default_factory=dict)

    def begin(self, grid: tuple[int, int]) -> None:
        """Start a pass on a grid of (rows, columns) patches."""
        if self.grid is not None:
            raise ConfigError("This trace already contains a pass; give every pass a new Trace().")
        self.grid = grid

    def record(self, flow: Flow) -> None:
        """Add the next flow. Frozen weights create no graph, so it starts at `attn_output`."""
        if self.gradients and isinstance(flow, Attention) and not flow.attn_output.requires_grad:
            flow.attn_output.requires_grad_()
        self.flows.append(flow)

    def record_hidden_state(self, tokens: Float[Tensor, "b n d"]) -> None:
        """Store the tokens after the latest layer, if this trace keeps hidden states."""
        if self.gradients or self.hidden_states:
            self.outputs[self.layers[-1]] = tokens

    @property
    def layers(self) -> list[Attention]:
        """The attention layers between tokens, first to last, without attention pooling."""
        attentions = (flow for flow in self.flows if isinstance(flow, Attention))
        return [flow for flow in attentions if flow.outputs is None]


def mean_heads(flow: Attention, rows: slice) -> Float[Tensor, "bg rows slots"]:
    """The mean of the heads' attention weights; every row is a distribution over tokens."""
    return flow.on_tokens(
        reduce(flow.weights(rows), "bg heads rows slots -> bg rows slots", "mean")
    )


def one_head(head: int) -> Rule:
    """A rule that takes the attention weights of a single head."""

    def rule(flow: Attention, rows: slice) -> Float[Tensor, "bg rows slots"]:
        return flow.on_tokens(flow.weights(rows)[:, head])

    return rule


def propagate_back(
    flows: Sequence[Flow],
    weight: Float[Tensor, "b q n_out"],
    rule: Rule = mean_heads,
    keep: float = 0.5,
    gain: float = 0.5,
) -> Float[Tensor, "b q n_in"]:
    """Propagate weights from the last flow back to the first.

    At a residual connection the weight is split: `keep` of it bypasses the mixing and `gain` of it
    goes through. With ½ and ½ this is attention rollout's ½A + ½I (arXiv 2005.00928), computed one
    row vector at a time in O(layers · n²) instead of O(layers · n³).
    """
    for flow in reversed(flows):
        through = flow.apply_transpose(weight, rule)
        weight = keep * weight + gain * through if flow.residual else through
    return weight
