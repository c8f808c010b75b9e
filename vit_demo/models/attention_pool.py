"""Attention pooling: one learned query reads all tokens (Set Transformer, arXiv 1810.00825).

SigLIP's read-out (arXiv 2303.15343). Parameter names are timm's.

    b   batch            n   tokens            d   token width
"""

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from vit_demo.models.layers import Gelu, Mlp
from vit_demo.trace import Attention, Trace


class AttentionPool(nn.Module):
    """A learned query attends to the tokens from number `first` on; an MLP follows."""

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
