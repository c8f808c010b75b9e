"""The building blocks of a Vision Transformer.

b   batch            h, w         image height and width in pixels
n   tokens           rows, cols   the patch grid
d   token width      heads        attention heads
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from vit_demo.trace import Attention, Bias, Trace

Gelu = Literal["exact", "tanh", "quick"]
Activation = Gelu | Literal["silu"]

QUICK = 1.702


class PatchEmbedding(nn.Module):
    """Split the image into square patches and project each to one token, as one convolution."""

    def __init__(
        self,
        patch_size: int,
        channels: int,
        width: int,
        bias: bool = True,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch_size, stride=patch_size, bias=bias)
        self.norm = norm or nn.Identity()

    def forward(self, pixels: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b rows cols d"]:
        return self.norm(rearrange(self.proj(pixels), "b d rows cols -> b rows cols d"))


class UnfoldPatchEmbedding(nn.Module):
    """The same computation as in the paper: flatten each patch, then one linear projection.

    `from_convolution` copies the weights of a `PatchEmbedding`; the tokens are then the same.
    """

    def __init__(self, patch_size: int, channels: int, width: int, bias: bool = True) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Linear(channels * patch_size * patch_size, width, bias=bias)

    @classmethod
    def from_convolution(cls, embedding: PatchEmbedding) -> "UnfoldPatchEmbedding":
        """Copy the kernel of a strided convolution, flattened channel by channel."""
        kernel = embedding.proj.weight
        width, channels, patch_size, _ = kernel.shape
        unfolded = cls(patch_size, channels, width, bias=embedding.proj.bias is not None)
        with torch.no_grad():
            unfolded.proj.weight.copy_(rearrange(kernel, "d c p q -> d (c p q)"))
            if embedding.proj.bias is not None:
                unfolded.proj.bias.copy_(embedding.proj.bias)
        return unfolded

    def forward(self, pixels: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b rows cols d"]:
        height, width = (side - side % self.patch_size for side in pixels.shape[-2:])
        patches = rearrange(
            pixels[:, :, :height, :width],
            "b c (rows p) (cols q) -> b rows cols (c p q)",
            p=self.patch_size,
            q=self.patch_size,
        )
        return self.proj(patches)


@dataclass(frozen=True, eq=False)
class Positions:
    """Token positions in attention: a bias on its scores, or a rotation of queries and keys.

    `rotate` is applied to queries and to keys.
    """

    bias: Bias | None = None
    rotate: Callable[[Tensor], Tensor] | None = None


class SelfAttention(nn.Module):
    """Multi-head self-attention over all tokens, with one projection for query, key and value.

    The total width of the heads may differ from the token width; `proj` maps it back. Groups of
    tokens that attend separately form a larger batch, (b groups); `index` then maps each of them to
    its token in the whole grid, for the trace. With `qk_norm_eps`, queries and keys are normalized
    per head, by RMS norm with `rms_norm`. `norm` is applied between attention and the last
    projection.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int,
        qkv_bias: bool,
        attention_dropout: float,
        dropout: float,
        qk_norm_eps: float | None = None,
        proj_bias: bool = True,
        rms_norm: bool = False,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.qkv = nn.Linear(width, 3 * heads * head_width, bias=qkv_bias)
        self.q_norm, self.k_norm = (
            nn.Identity()
            if qk_norm_eps is None
            else (nn.RMSNorm if rms_norm else nn.LayerNorm)(head_width, eps=qk_norm_eps)
            for _ in ("query", "key")
        )
        self.norm = norm or nn.Identity()
        self.proj = nn.Linear(heads * head_width, width, bias=proj_bias)
        self.proj_drop = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Float[Tensor, "b n d"],
        trace: Trace | None = None,
        index: Int[Tensor, "groups n"] | None = None,
        read: int | None = None,
        positions: Positions | None = None,
    ) -> Float[Tensor, "b n d"]:
        """With `read`, only the queries of the first `read` tokens have a gradient graph."""
        # Split before rearranging: the backward pass then concatenates the three gradients in one
        # copy.
        query, key, value = (
            rearrange(part, "b n (heads d) -> b heads n d", heads=self.heads)
            for part in self.qkv(tokens).chunk(3, dim=-1)
        )
        query, key = self.q_norm(query), self.k_norm(key)
        bias, rotate = (None, None) if positions is None else (positions.bias, positions.rotate)
        if rotate is not None:
            query, key = rotate(query), rotate(key)
        dropout = self.attention_dropout if self.training else 0.0
        added = None if bias is None else bias.rows(slice(None))

        def attend(query: Float[Tensor, "b heads q d"]) -> Float[Tensor, "b heads q d"]:
            mask = None if added is None else added[:, :, : query.shape[2]]
            return functional.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, dropout_p=dropout
            )

        attn_output = attend(query) if read is None else graph_of_first(attend, query, read)
        if trace is not None:
            if index is None:
                index = torch.arange(tokens.shape[1], device=tokens.device)[None]
            trace.record(
                Attention(
                    query,
                    key,
                    value,
                    attn_output,
                    index=index,
                    tokens=index.numel(),
                    scale=query.shape[-1] ** -0.5,
                    bias=bias,
                )
            )
        together = rearrange(attn_output, "b heads n d -> b n (heads d)")
        return self.proj_drop(self.proj(self.norm(together)))


class Mlp(nn.Module):
    """Two linear layers with an activation between, applied to every token separately.

    `norm` is applied before the second.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: Activation,
        dropout: float,
        bias: bool = True,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden, bias=bias)
        self.act = _activation(activation)
        self.drop1 = nn.Dropout(dropout)
        self.norm = norm or nn.Identity()
        self.fc2 = nn.Linear(hidden, width, bias=bias)
        self.drop2 = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        return self.drop2(self.fc2(self.norm(self.drop1(self.act(self.fc1(tokens))))))


class SwiGlu(nn.Module):
    """An MLP gated by SiLU: the first layer computes both gate and value (arXiv 2002.05202).

    `norm` is applied before the last layer.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        dropout: float,
        bias: bool = True,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 2 * hidden, bias=bias)
        self.drop1 = nn.Dropout(dropout)
        self.norm = norm or nn.Identity()
        self.fc2 = nn.Linear(hidden, width, bias=bias)
        self.drop2 = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        gate, value = self.fc1(tokens).chunk(2, dim=-1)
        return self.drop2(self.fc2(self.norm(self.drop1(functional.silu(gate) * value))))


class QuickGelu(nn.Module):
    """x · sigmoid(1.702 x), OpenAI's fast approximation of GELU (arXiv 1606.08415)."""

    def forward(self, tokens: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
        return tokens * torch.sigmoid(QUICK * tokens)


def _activation(name: Activation) -> nn.Module:
    match name:
        case "exact":
            return nn.GELU()
        case "tanh":
            return nn.GELU(approximate="tanh")
        case "quick":
            return QuickGelu()
        case "silu":
            return nn.SiLU()


class LayerScale(nn.Module):
    """One learned factor per channel on a residual branch (CaiT, arXiv 2103.17239)."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), initial))

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        return tokens * self.gamma


class Representation(nn.Module):
    """The paper's pre-logits: one linear layer and a tanh between encoder and head."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, features)

    def forward(self, token: Float[Tensor, "b d"]) -> Float[Tensor, "b features"]:
        return self.fc(token).tanh()


class MeanHead(nn.Module):
    """Global average pooling of a feature map, then one linear layer."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b classes"]:
        return self.fc(tokens.mean(dim=1))


def initialise(model: nn.Module) -> None:
    """Truncated normal weights with std 0.02, as usual for transformers; zero biases."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def graph_of_first(
    layer: Callable[[Tensor], Tensor], tokens: Float[Tensor, "*dims n d"], count: int
) -> Float[Tensor, "*dims n d"]:
    """Apply `layer` to all tokens, with a gradient graph only for the first `count`.

    The values are bit-identical to those of one call, and the backward pass is faster. `layer` must
    treat each token separately.
    """
    with torch.no_grad():
        every = layer(tokens)
    few = layer(tokens[..., :count, :])
    exact = every[..., :count, :] + (few - few.detach())
    return torch.cat([exact, every[..., count:, :]], dim=-2)


class DropPath(nn.Module):
    """Stochastic depth: in training, drop a residual branch for whole samples (arXiv 1603.09382).

    The remaining branches are divided by the keep probability, so that the expectation is
    unchanged.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        if not self.training or self.rate == 0:
            return branch
        survives = torch.rand(branch.shape[0], 1, 1, device=branch.device) >= self.rate
        return branch * survives / (1 - self.rate)


class PatchDropout(nn.Module):
    """In training, drop random patches, different ones in every sample (arXiv 2208.07220).

    Positions must be added before. The prefix tokens are always kept.
    """

    def __init__(self, rate: float, prefix: int) -> None:
        super().__init__()
        self.rate, self.prefix = rate, prefix

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b kept d"]:
        if not self.training or self.rate == 0:
            return tokens
        prefix, patches = tokens[:, : self.prefix], tokens[:, self.prefix :]
        count = max(1, round(patches.shape[1] * (1 - self.rate)))
        chance = torch.rand(patches.shape[:2], device=tokens.device)
        chosen = chance.argsort(dim=1)[:, :count]
        kept = patches.gather(1, repeat(chosen, "b kept -> b kept d", d=tokens.shape[2]))
        return torch.cat([prefix, kept], dim=1)


class AttentionPool(nn.Module):
    """A learned query attends to the tokens from index `first` on; an MLP follows."""

    def __init__(
        self, width: int, heads: int, mlp_width: int, gelu: Gelu, norm: nn.Module, first: int
    ) -> None:
        super().__init__()
        self.heads, self.first = heads, first
        self.latent = nn.Parameter(torch.zeros(1, 1, width))
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.norm = norm
        self.mlp = Mlp(width, mlp_width, gelu, dropout=0.0)

    def forward(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b d"]:
        query = rearrange(
            self.q(repeat(self.latent, "1 1 d -> b 1 d", b=len(tokens))),
            "b n (heads d) -> b heads n d",
            heads=self.heads,
        )
        key, value = rearrange(
            self.kv(tokens[:, self.first :]),
            "b n (two heads d) -> two b heads n d",
            two=2,
            heads=self.heads,
        )
        attn_output = functional.scaled_dot_product_attention(query, key, value)
        if trace is not None:
            count = tokens.shape[1]
            trace.record(
                Attention(
                    query,
                    key,
                    value,
                    attn_output,
                    index=torch.arange(self.first, count, device=tokens.device)[None],
                    tokens=count,
                    scale=query.shape[-1] ** -0.5,
                    residual=False,
                    outputs=torch.zeros(1, 1, dtype=torch.long, device=tokens.device),
                )
            )
        pooled = self.proj(rearrange(attn_output, "b heads n d -> b n (heads d)"))
        return rearrange(pooled + self.mlp(self.norm(pooled)), "b 1 d -> b d")
