"""What is left out at random while training, and only then.

b   batch            n   tokens            d   token width
"""

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn


class DropPath(nn.Module):
    """Stochastic depth: in training, drop a residual branch for whole samples (arXiv 1603.09382).

    What survives is divided by the chance of survival, so that its expectation is unchanged.
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
    """In training, leave out some patches, others for every sample (arXiv 2208.07220).

    Positions have been added before, so what is left knows where it is. The prefix always stays.
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
