"""Evidence: one class's logit, written as a sum over the patches and a few other parts.

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

# A head's class weights, or a norm's gain, for every photo and every token that is read.
Directions = Float[Tensor, "b q d"]


@dataclass(frozen=True, eq=False)
class Account:
    """The logit of one class less the mean of all classes, as a sum.

    Where each class stands alone (multi-label, regression), it is the logit itself.

    `patches` is what attention carried from every patch to the tokens that the head reads, over
    all layers and heads; `by_layer` is the sum of the patches in each layer. `prefix_tokens` is
    the same for the tokens before the patches, in the order of the model. `embedding` is what the
    tokens that the head reads were before the first layer, `mlps` what the MLPs added to them,
    and `biases` belong to no photo. `centred_logit` is what the model computed; the parts add up
    to it, up to rounding.

    The difference of two accounts is that of two classes.
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
        """The sum of all parts."""
        attended = float(self.patches.double().sum() + self.prefix_tokens.double().sum())
        return attended + self.mlps + self.embedding + self.biases

    def __sub__(self, other: "Account") -> "Account":
        names = [field.name for field in fields(self)]
        return Account(**{name: getattr(self, name) - getattr(other, name) for name in names})

    def as_json(self) -> dict[str, Any]:
        """The parts and their sum; the patches one by one are the heatmap."""
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
    """What each patch adds to the class's logit less the mean of all classes; signed.

    The scale of the last norm is held at its value for this photo. Then what the head reads is a
    sum of what every layer and head carried there from every token; each term is projected on the
    direction of the class. The map does not sum to one: with the rest of the `accounts` it sums
    to the centred logit. Raises MethodError for a model whose logits are no such sum.
    """
    return torch.stack([account.patches for account in accounts(traced, target)])


def unsupported_by_evidence(model: Subject) -> str | None:
    """Why the logits of a model are no sum over its patches, or None when they are."""
    architecture, config = described(model)
    return architecture.no_linear_read_out(config)


@torch.no_grad()
def accounts(traced: TracedPass, target: Int[Tensor, " b"]) -> list[Account]:
    """The account of each photo's class; raises MethodError as `evidence` does."""
    if reason := unsupported_by_evidence(traced.model):
        raise MethodError(f"'evidence' does not fit this checkpoint: {reason}; choose 'relevance'.")
    # A model whose logits are an exact sum has these parts; see `Classifier.no_linear_read_out`.
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
    """What a layer carried from every token: weight · value on the directions, over the heads."""
    apart = rearrange(projected, "b q (heads d) -> b heads q d", heads=layer.heads)
    step = max(1, trace.CHUNK_NUMBERS // (len(projected) * layer.heads * layer.tokens))
    pulled = torch.zeros_like(layer.value)
    for start in range(rows.start, rows.stop, step):
        chunk = slice(start, min(start + step, rows.stop))
        asked = apart[:, :, chunk.start - rows.start : chunk.stop - rows.start]
        pulled += layer.weights(chunk).mT @ asked
    return einsum(pulled, layer.value, "b heads n d, b heads n d -> b n")


def _read_rows(model: VisionTransformer, tokens: int) -> slice:
    """The tokens among which are all that the head reads."""
    if model.config.distilled:
        return slice(0, 2)
    first = model.config.prefix if model.config.pooling == "mean" else 0
    return slice(first, 1 if model.config.pooling == "class" else tokens)


def _directions(
    model: VisionTransformer, read: Float[Tensor, "b q d"], target: Int[Tensor, " b"]
) -> tuple[Directions, Float[Tensor, " b"]]:
    """By what each token that is read raises the centred logit, and what is left without any."""
    weight, bias = _centred(model.head, target, model.problem)
    if model.config.distilled:
        taught, taught_bias = _centred(model.head_dist, target, model.problem)
        spread = torch.stack([weight, taught], dim=1) / 2
        held, constant = _with_scale_held(model.norm, read, spread)
        return held, (bias + taught_bias) / 2 + constant
    # The last norm stands before pooling or after it; the other one is nn.Identity().
    normed = model.norm(read)
    pooled = _pooled(model, normed)[:, None]
    weight, after = _with_scale_held(model.fc_norm, pooled, weight[:, None])
    held, before = _with_scale_held(model.norm, read, _spread(model, weight[:, 0], read))
    return held, bias + after + before


def _centred(
    head: nn.Linear, target: Int[Tensor, " b"], problem: Problem
) -> tuple[Float[Tensor, "b e"], Float[Tensor, " b"]]:
    """Weight and bias of each target's logit less the mean of all classes.

    A softmax sees only differences of logits. Where each class stands alone, so does its logit.
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


def _spread(
    model: VisionTransformer, weight: Float[Tensor, "b e"], read: Float[Tensor, "b q d"]
) -> Directions:
    """A direction of what was pooled, as one of every token that went into it."""
    count = read.shape[1]
    match model.config.pooling:
        case "class":
            return weight[:, None]
        case "mean":
            return (weight[:, None] / count).expand(-1, count, -1)
        case _:
            prefix = model.config.prefix
            of_class, of_mean = weight.chunk(2, dim=1)
            spread = torch.zeros_like(read)
            spread[:, 0] = of_class
            spread[:, prefix:] = of_mean[:, None] / (count - prefix)
            return spread


def _with_scale_held(
    norm: nn.Module, tokens: Float[Tensor, "b q d"], directions: Float[Tensor, "b q d"]
) -> tuple[Float[Tensor, "b q d"], Float[Tensor, " b"]]:
    """Directions of what a norm gives as directions of what it was given, and its bias on them.

    The norm divides by a scale that it reads from each token; held at its value, what is left is
    linear: the mean taken away (by LayerNorm alone), times the gain, plus the bias.
    """
    nothing = directions.new_zeros(len(directions))
    if isinstance(norm, nn.LayerNorm):
        gained = directions * norm.weight
        scale = (tokens.var(dim=-1, correction=0, keepdim=True) + norm.eps).sqrt()
        centred = gained - gained.mean(dim=-1, keepdim=True)
        return centred / scale, (directions @ norm.bias).sum(dim=1)
    if isinstance(norm, nn.RMSNorm):
        eps = torch.finfo(tokens.dtype).eps if norm.eps is None else norm.eps
        scale = (tokens.square().mean(dim=-1, keepdim=True) + eps).sqrt()
        return directions * norm.weight / scale, nothing
    return directions, nothing
