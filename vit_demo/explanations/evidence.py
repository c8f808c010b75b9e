"""Evidence: the logit of one class, decomposed into a sum over the patches and a few other terms.

b   batch            n   tokens                      heads   attention heads
d   token width      q   tokens that the head reads  e       width of what the head reads
"""

from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from vit_demo import trace
from vit_demo.errors import MethodError
from vit_demo.explanations.traced_pass import Heatmap, TracedPass
from vit_demo.models.base import Subject, described
from vit_demo.models.vit import Block, VisionTransformer
from vit_demo.predictions import Problem
from vit_demo.trace import Attention

# One vector per photo and token that the head reads; the dot product with the token is its effect
# on the logit.
Directions = Float[Tensor, "b q d"]


@dataclass(frozen=True, eq=False)
class Account:
    """The logit of one class minus the mean of all classes, as a sum of terms.

    For multi-label and regression checkpoints it is the logit itself.

    `patches` is what attention moves from every patch to the tokens that the head reads, summed
    over all layers and heads; `by_layer` is the sum over the patches in each layer.
    `prefix_tokens` is the same for the tokens before the patches, in the model's order.
    `embedding` is the contribution of the tokens that the head reads before the first layer, `mlps`
    what the MLPs add to them, and `biases` do not depend on the photo. `centred_logit` is the
    model's own result, which the terms sum to up to rounding.

    Subtracting two accounts gives the account of the difference of the two logits.
    """

    patches: Float[Tensor, "rows cols"]
    prefix_tokens: Float[Tensor, " prefix"]
    by_layer: Float[Tensor, " layers"]
    mlps: float
    embedding: float
    biases: float
    centred_logit: float

    @property
    def total(self) -> float:
        """The sum of all terms."""
        attended = float(self.patches.double().sum() + self.prefix_tokens.double().sum())
        return attended + self.mlps + self.embedding + self.biases

    def __sub__(self, other: "Account") -> "Account":
        names = [field.name for field in fields(self)]
        return Account(**{name: getattr(self, name) - getattr(other, name) for name in names})

    def as_json(self) -> dict[str, Any]:
        """The terms and their sum; the single patches are in the heatmap."""
        return {
            "patches": float(self.patches.double().sum()),
            "prefix_tokens": self.prefix_tokens.tolist(),
            "mlps": self.mlps,
            "embedding": self.embedding,
            "biases": self.biases,
            "total": self.total,
            "centred_logit": self.centred_logit,
            "by_layer": self.by_layer.tolist(),
        }


def evidence(traced: TracedPass, target: Int[Tensor, " b"]) -> Heatmap:
    """What each patch adds to the class's logit minus the mean of all classes; signed.

    The scale of the final norm is frozen at its value for this photo. The head's input is then a
    sum of what every layer and head moves there from every token; each term is projected onto the
    direction of the class. The map does not sum to one: together with the other terms of
    `accounts` it sums to the centered logit. Raises MethodError for a model whose logits are not
    such a sum.
    """
    return torch.stack([account.patches for account in accounts(traced, target)])


def unsupported_by_evidence(model: Subject) -> str | None:
    """Why a model's logits are not a sum over its patches, or None if they are."""
    architecture, config = described(model)
    return architecture.no_linear_read_out(config)


@torch.no_grad()
def accounts(traced: TracedPass, target: Int[Tensor, " b"]) -> list[Account]:
    """The account of each photo's class; raises MethodError as `evidence` does."""
    if reason := unsupported_by_evidence(traced.model):
        raise MethodError(
            f"'evidence' does not support this checkpoint: {reason}; choose 'relevance'."
        )
    # Only a VisionTransformer passes the check above; see `Classifier.no_linear_read_out`.
    model = cast(VisionTransformer, traced.model)
    target = target.to(traced.logits.device)
    layers = traced.trace.layers
    embedded = model.embed(traced.pixels)
    rows = _read_rows(model, embedded.shape[1])
    states = [embedded[:, rows]]
    mlps = torch.zeros_like(states[0])
    for block, layer in zip(_blocks(model), layers, strict=True):
        moved = rearrange(layer.attn_output[:, :, rows], "b heads q d -> b q (heads d)")
        attended = states[-1] + block.ls1(block.attn.proj(moved))
        states.append(block.feed(attended))
        mlps += states[-1] - attended
    directions, biases = _directions(model, states[-1], target)
    by_token = []
    for block, layer in zip(_blocks(model), layers, strict=True):
        scaled = block.ls1(directions)
        by_token.append(_by_token(layer, scaled @ block.attn.proj.weight, rows))
        if block.attn.proj.bias is not None:
            biases = biases + (scaled @ block.attn.proj.bias).sum(dim=1)
    attention = torch.stack(by_token, dim=1)
    prefix, (grid_rows, _) = model.config.prefix, traced.grid
    patches = rearrange(
        attention[:, :, prefix:], "b layers (rows cols) -> b layers rows cols", rows=grid_rows
    )
    chosen = traced.logits.gather(1, target[:, None])[:, 0]
    if model.problem == "single_label":
        chosen = chosen - traced.logits.mean(dim=1)
    embedding = einsum(states[0], directions, "b q d, b q d -> b")
    fed = einsum(mlps, directions, "b q d, b q d -> b")
    return [
        Account(
            patches=patches[photo].sum(dim=0),
            prefix_tokens=attention[photo, :, :prefix].sum(dim=0),
            by_layer=patches[photo].sum(dim=(1, 2)),
            mlps=float(fed[photo]),
            embedding=float(embedding[photo]),
            biases=float(biases[photo]),
            centred_logit=float(chosen[photo]),
        )
        for photo in range(len(target))
    ]


def _blocks(model: VisionTransformer) -> list[Block]:
    return [block for block in model.blocks if isinstance(block, Block)]


def _by_token(
    layer: Attention, projected: Float[Tensor, "b q width"], rows: slice
) -> Float[Tensor, "b n"]:
    """What a layer moves from every token: weight · value · direction, summed over the heads."""
    by_head = rearrange(projected, "b q (heads d) -> b heads q d", heads=layer.heads)
    step = max(1, trace.CHUNK_NUMBERS // (len(projected) * layer.heads * layer.tokens))
    on_tokens = torch.zeros_like(layer.value)
    for start in range(rows.start, rows.stop, step):
        chunk = slice(start, min(start + step, rows.stop))
        part = by_head[:, :, chunk.start - rows.start : chunk.stop - rows.start]
        on_tokens += layer.weights(chunk).mT @ part
    return einsum(on_tokens, layer.value, "b heads n d, b heads n d -> b n")


def _read_rows(model: VisionTransformer, tokens: int) -> slice:
    """A range of tokens that includes all tokens that the head reads."""
    if model.config.distilled:
        return slice(0, 2)
    first = model.config.prefix if model.config.pooling == "mean" else 0
    return slice(first, 1 if model.config.pooling == "class" else tokens)


def _directions(
    model: VisionTransformer, read: Float[Tensor, "b q d"], target: Int[Tensor, " b"]
) -> tuple[Directions, Float[Tensor, " b"]]:
    """The direction of the centered logit for each token that the head reads, and the constant."""
    weight, bias = _centred(model.head, target, model.problem)
    if model.config.distilled:
        weight_dist, bias_dist = _centred(model.head_dist, target, model.problem)
        on_tokens = torch.stack([weight, weight_dist], dim=1) / 2
        directions, constant = _through_norm(model.norm, read, on_tokens)
        return directions, (bias + bias_dist) / 2 + constant
    # The final norm is either before or after pooling; the other one is nn.Identity().
    normed = model.norm(read)
    pooled = _pooled(model, normed)[:, None]
    weight, after = _through_norm(model.fc_norm, pooled, weight[:, None])
    directions, before = _through_norm(model.norm, read, _unpooled(model, weight[:, 0], read))
    return directions, bias + after + before


def _centred(
    head: nn.Linear, target: Int[Tensor, " b"], problem: Problem
) -> tuple[Float[Tensor, "b e"], Float[Tensor, " b"]]:
    """Weight and bias of each target's logit, minus the mean over all classes.

    A softmax depends on differences of logits only. Without a softmax, the logit itself counts.
    """
    if problem != "single_label":
        return head.weight[target], head.bias[target]
    return (
        head.weight[target] - head.weight.mean(dim=0),
        head.bias[target] - head.bias.mean(),
    )


def _pooled(model: VisionTransformer, normed: Float[Tensor, "b q d"]) -> Float[Tensor, "b e"]:
    match model.config.pooling:
        case "class":
            return normed[:, 0]
        case "mean":
            return normed.mean(dim=1)
        case _:
            patches = normed[:, model.config.prefix :]
            return torch.cat([normed[:, 0], patches.mean(dim=1)], dim=1)


def _unpooled(
    model: VisionTransformer, weight: Float[Tensor, "b e"], read: Float[Tensor, "b q d"]
) -> Directions:
    """A direction on the pooled features, as directions on the tokens that were pooled."""
    count = read.shape[1]
    match model.config.pooling:
        case "class":
            return weight[:, None]
        case "mean":
            return (weight[:, None] / count).expand(-1, count, -1)
        case _:
            prefix = model.config.prefix
            of_class, of_mean = weight.chunk(2, dim=1)
            directions = torch.zeros_like(read)
            directions[:, 0] = of_class
            directions[:, prefix:] = of_mean[:, None] / (count - prefix)
            return directions


def _through_norm(
    norm: nn.Module, tokens: Float[Tensor, "b q d"], directions: Float[Tensor, "b q d"]
) -> tuple[Float[Tensor, "b q d"], Float[Tensor, " b"]]:
    """Directions on a norm's output as directions on its input, and the effect of its bias.

    The norm divides each token by a scale that depends on the token. With that scale frozen, the
    norm is linear: subtract the mean (LayerNorm only), multiply by the gain, add the bias.
    """
    no_bias = directions.new_zeros(len(directions))
    if isinstance(norm, nn.LayerNorm):
        gained = directions * norm.weight
        scale = (tokens.var(dim=-1, correction=0, keepdim=True) + norm.eps).sqrt()
        centred = gained - gained.mean(dim=-1, keepdim=True)
        return centred / scale, (directions @ norm.bias).sum(dim=1)
    if isinstance(norm, nn.RMSNorm):
        eps = torch.finfo(tokens.dtype).eps if norm.eps is None else norm.eps
        scale = (tokens.square().mean(dim=-1, keepdim=True) + eps).sqrt()
        return directions * norm.weight / scale, no_bias
    return directions, no_bias
