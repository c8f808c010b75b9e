"""Attention as a linear operator: what a traced forward pass records, and its transpose.

    b        batch                          q        rows that are followed back together
    heads    attention heads                slots    places in one group of tokens
    groups   groups that attend apart       d        width of one head
    n_in, n_out   tokens before and after   children tokens that make up one token

Every architecture here moves information between tokens by linear mixings. A traced forward pass
records them, in order, as one of two kinds of flow: `Attention`, whose weights depend on the photo,
and `LinearMixing`, whose weights are fixed by geometry. No architecture's name appears here or in
any method built on it.
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

# Weights are formed a few query rows at a time; this bounds the numbers alive at once, so that
# memory stays flat from 14×14 patches to 64×64.
CHUNK_NUMBERS = 4_000_000

PADDING = -1

Rule = Callable[["Attention", slice], Float[Tensor, "bg rows slots"]]


@runtime_checkable
class Flow(Protocol):
    """One linear mixing of tokens, seen from its output."""

    @property
    def residual(self) -> bool:
        """Whether an additive residual connection runs round the mixing."""
        ...

    def apply_transpose(
        self, weight: Float[Tensor, "b q n_out"], rule: Rule
    ) -> Float[Tensor, "b q n_in"]:
        """Hand weights on the outputs back to the inputs: the adjoint of the mixing."""
        ...


@runtime_checkable
class Bias(Protocol):
    """What is added to the scores, formed a few query rows at a time."""

    def rows(self, rows: slice) -> Float[Tensor, "#groups heads rows slots"]:
        """The rows of some queries."""
        ...


@dataclass(frozen=True, eq=False)
class Attention:
    """One attention layer, kept as the tensors it was computed from (references, not copies).

    The fused kernel never forms the attention weights; they are formed here, from query and key,
    when they are asked for. `index` says which token sits in which slot of which group; dense
    attention is one group that holds every token. `outputs` says which output each query makes;
    left out, every slot makes the token that it holds. `bias` is added to the scores, the same
    for every photo; −∞ keeps a slot out. One for all pairs of tokens of a photo would outlive its
    layer as an n × n tensor, so it comes as a `Bias`, whose rows are formed when asked for.
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
        """How many heads attend side by side."""
        return self.query.shape[1]

    @cached_property
    def dense(self) -> bool:
        """Whether there is one group, and every token sits in its own slot of it."""
        in_order = torch.arange(self.tokens, device=self.index.device)[None]
        return self.outputs is None and torch.equal(self.index, in_order)

    def weights(self, rows: slice = slice(None)) -> Float[Tensor, "bg heads rows slots"]:
        """softmax(QKᵀ · scale + bias), for the chosen query rows (arXiv 1706.03762)."""
        scores = (self.scale * self.query[:, :, rows]) @ self.key.mT
        if self.bias is not None:
            apart = rearrange(scores, "(b groups) ... -> b groups ...", groups=len(self.index))
            bias = self.bias
            added = bias[:, :, rows] if isinstance(bias, Tensor) else bias.rows(rows)
            scores = rearrange(apart + added, "b groups ... -> (b groups) ...")
        return scores.softmax(dim=-1)

    def on_tokens(self, mixing: Float[Tensor, "bg rows slots"]) -> Float[Tensor, "bg rows slots"]:
        """The mixing without its padding slots: what is left of every row sums to one again.

        The row of a slot that is padding itself may be left empty; nothing is ever placed there.
        """
        real = self.index != PADDING
        if self.dense or real.all():
            return mixing
        apart = rearrange(mixing, "(b groups) ... -> b groups ...", groups=len(self.index))
        kept = rearrange(apart * real[:, None], "b groups ... -> (b groups) ...")
        return kept / kept.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(kept.dtype).tiny)

    def apply_transpose(
        self, weight: Float[Tensor, "b q n_out"], rule: Rule
    ) -> Float[Tensor, "b q n_in"]:
        """Weights on the mixed tokens, back on the tokens that were mixed.

        `rule` turns the heads' weights of some rows into one mixing matrix. Only those rows are
        formed that carry any weight, so one class token costs one row.
        """
        if self.dense:
            return self._mixed_back(weight, rule)
        groups = len(self.index)
        # A slot that holds padding (−1) reads the extra, empty column.
        placed = rearrange(
            functional.pad(weight, (0, 1))[
                :, :, self.index if self.outputs is None else self.outputs
            ],
            "b q groups queries -> (b groups) q queries",
        )
        pulled = self._mixed_back(placed, rule)
        return _gather_back(
            rearrange(pulled, "(b groups) q slots -> b q (groups slots)", groups=groups),
            rearrange(self.index, "groups slots -> (groups slots)"),
            self.tokens,
        )

    def _mixed_back(
        self, placed: Float[Tensor, "bg q queries"], rule: Rule
    ) -> Float[Tensor, "bg q slots"]:
        """Weights on the queries, back on the slots; a few rows at a time, the empty ones never."""
        slots = self.index.shape[1]
        live = placed.detach().abs().amax(dim=(0, 1)).nonzero()
        pulled = placed.new_zeros(*placed.shape[:2], slots)
        if len(live):
            first, end = int(live[0]), int(live[-1]) + 1
            step = max(1, CHUNK_NUMBERS // (placed.shape[0] * self.heads * slots))
            for start in range(first, end, step):
                rows = slice(start, min(start + step, end))
                pulled = pulled + placed[:, :, rows] @ rule(self, rows)
        return pulled


@dataclass(frozen=True, eq=False)
class LinearMixing:
    """Fixed geometry: every output token is a stated mix of its children.

    A token with no children (a class token that enters here) lets its weight end.
    """

    index: Int[Tensor, "n_out children"]
    share: Float[Tensor, "n_out children"]
    tokens: int
    residual: bool = False

    def apply_transpose(
        self, weight: Float[Tensor, "b q n_out"], rule: Rule
    ) -> Float[Tensor, "b q n_in"]:
        """Hand each token's weight to its children by their shares; `rule` plays no part."""
        del rule
        handed = einsum(
            weight, self.share.to(weight), "b q n_out, n_out children -> b q n_out children"
        )
        return _gather_back(
            rearrange(handed, "b q n_out children -> b q (n_out children)"),
            rearrange(self.index, "n_out children -> (n_out children)"),
            self.tokens,
        )


def _gather_back(
    parts: Float[Tensor, "b q places"], index: Int[Tensor, " places"], tokens: int
) -> Float[Tensor, "b q tokens"]:
    """Add up the parts that belong to each token; what sits on padding is dropped."""
    extra_column = index.remainder(tokens + 1)
    total = parts.new_zeros(*parts.shape[:2], tokens + 1)
    return total.index_add(2, extra_column, parts)[:, :, :tokens]


@dataclass
class Trace:
    """What one forward pass moved where. Pass an empty one in, read it afterwards.

    The first flow starts at the patch grid, the last one is the read-out, so that every method
    begins with a weight of one. A trace serves one pass: two passes can never share one.
    With `gradients` the pass leaves a graph. With either that or `hidden_states`, `outputs` holds
    what the tokens were after each layer, for models whose head can read them there.
    """

    flows: list[Flow] = field(default_factory=list)
    grid: tuple[int, int] | None = None
    gradients: bool = False
    hidden_states: bool = False
    outputs: dict[Attention, Float[Tensor, "b n d"]] = field(default_factory=dict)

    def begin(self, grid: tuple[int, int]) -> None:
        """Say on which grid of (rows, columns) patches the pass begins."""
        if self.grid is not None:
            raise ConfigError("This trace holds a pass already; give every pass a new Trace().")
        self.grid = grid

    def record(self, flow: Flow) -> None:
        """Add the next mixing. Frozen weights make no graph, so it starts at `attn_output`."""
        if self.gradients and isinstance(flow, Attention) and not flow.attn_output.requires_grad:
            flow.attn_output.requires_grad_()
        self.flows.append(flow)

    def record_hidden_state(self, tokens: Float[Tensor, "b n d"]) -> None:
        """Say what the tokens are after the latest layer; kept where someone asks for it."""
        if self.gradients or self.hidden_states:
            self.outputs[self.layers[-1]] = tokens

    @property
    def layers(self) -> list[Attention]:
        """The attention layers between tokens, first to last; pooling is none of them."""
        attentions = (flow for flow in self.flows if isinstance(flow, Attention))
        return [flow for flow in attentions if flow.outputs is None]


def mean_heads(flow: Attention, rows: slice) -> Float[Tensor, "bg rows slots"]:
    """The plain mean of the heads' weights: every row is a distribution over tokens."""
    return flow.on_tokens(
        reduce(flow.weights(rows), "bg heads rows slots -> bg rows slots", "mean")
    )


def one_head(head: int) -> Rule:
    """The weights of a single head."""

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
    """Follow weights from the last flow back to the first.

    Round a residual connection the weight is split: `keep` of it goes past the mixing and `gain`
    of it through. With ½ and ½ this is attention rollout's ½A + ½I (arXiv 2005.00928) taken one
    row vector at a time, at O(layers · n²) instead of O(layers · n³).
    """
    for flow in reversed(flows):
        pulled = flow.apply_transpose(weight, rule)
        weight = keep * weight + gain * pulled if flow.residual else pulled
    return weight
