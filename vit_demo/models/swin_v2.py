"""The Swin Transformer V2: cosine attention, a continuous position bias, and post-norm blocks.

Implemented after Liu et al., "Swin Transformer V2: Scaling Up Capacity and Resolution" (arXiv
2111.09883), section 3. Everything else is a `Swin`. Parameter names are timm's.

    b   batch                heads   attention heads
    n   tokens of the grid   slots   positions in one window
    d   token width          bg      windows of all photos
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from vit_demo.checks import LARGEST_SIDE, check_whole
from vit_demo.errors import ConfigError
from vit_demo.models.grids import Grid
from vit_demo.models.layers import DropPath, Mlp
from vit_demo.models.swin import OUTER_EPS, Swin, SwinConfig, squares_of
from vit_demo.models.windows import WindowAttention, Windows, relative_offsets
from vit_demo.trace import Trace

# The lower limit of the temperature (section 3.2).
LOWEST_TEMPERATURE = 0.01
# As in the authors' code (section 3.3): distances are scaled to ±8, and the bias is below 16.
SPREAD, LARGEST_BIAS = 8.0, 16.0
FIRST_TEMPERATURE = 0.1


@dataclass(frozen=True)
class SwinV2Config(SwinConfig):
    """The configuration of a Swin V2; see `SwinConfig`.

    `pretrained_windows` are the window sizes of the stages in pre-training; 0 means the current
    size. `bias_width` is the number of hidden channels of the MLP that computes the bias. In both
    conventions, every input size uses the windows of `image_size`.
    """

    pretrained_windows: tuple[int, ...] = (0, 0, 0, 0)
    bias_width: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("bias_width", self.bias_width)
        if len(self.pretrained_windows) != len(self.depths):
            raise ConfigError(
                f"pretrained_windows={self.pretrained_windows} and depths={self.depths} must name "
                "the same stages; give one entry for each."
            )
        for side in self.pretrained_windows:
            check_whole("pretrained_windows", side, least=0, most=LARGEST_SIDE)

    def build(self) -> "SwinV2":
        """Build this model with newly initialized weights."""
        return SwinV2(self)

    def block(self, stage: int, drop_path: float) -> nn.Module:
        """One block of a stage."""
        return SwinV2Block(self, stage, drop_path)

    def merging(self, stage: int) -> nn.Module:
        """The patch merging at the start of a stage."""
        return MergeThenNorm(self.width_of(stage - 1))

    def tiling(self, stage: int, grid: Grid) -> tuple[Grid, Grid]:
        """The window on a stage's grid, and the shift of every second block."""
        if self.convention == "timm":
            return super().tiling(stage, grid)
        window = self.windows[stage]
        rows = self.image_size[0] // self.patch_size // 2**stage
        shift = window[0] // 2 if rows > window[0] else 0
        return window, (shift, shift)


class CosineWindowAttention(WindowAttention):
    """Cosine attention within each window  [eq. 2].

    The bias is computed by an MLP from the logarithm of the distance  [eqs. 3 and 4].
    """

    def __init__(self, config: SwinV2Config, stage: int) -> None:
        self.bias_width = config.bias_width
        self.pretrained = config.pretrained_windows[stage]
        super().__init__(
            config.width_of(stage),
            config.heads[stage],
            config.windows[stage],
            config.qkv_bias,
            config.attention_dropout,
            config.dropout,
        )

    def add_bias(self) -> None:
        axes = 2
        self.cpb_mlp = nn.Sequential(
            nn.Linear(axes, self.bias_width),
            nn.ReLU(),
            nn.Linear(self.bias_width, self.heads, bias=False),
        )
        temperature = torch.full((self.heads, 1, 1), 1 / FIRST_TEMPERATURE)
        self.logit_scale = nn.Parameter(temperature.log())

    def by_offset(self, windows: Windows) -> Float[Tensor, "slots slots heads"]:
        like = self.logit_scale
        axes = [
            torch.arange(1 - side, side, device=like.device).to(like)
            / max((self.pretrained or side) - 1, 1)
            for side in windows.size
        ]
        offsets = SPREAD * torch.cartesian_prod(*axes)
        logs = offsets.sign() * torch.log2(1 + offsets.abs()) / math.log2(SPREAD)
        biases = LARGEST_BIAS * self.cpb_mlp(logs).sigmoid()
        return biases[relative_offsets(windows.size, windows.size, like.device)]

    def compared(
        self, query: Float[Tensor, "bg heads n d"], key: Float[Tensor, "bg heads n d"]
    ) -> tuple[Float[Tensor, "bg heads n d"], Float[Tensor, "bg heads n d"], float | None]:
        scale = self.logit_scale.clamp(max=math.log(1 / LOWEST_TEMPERATURE)).exp()
        return scale * functional.normalize(query, dim=-1), functional.normalize(key, dim=-1), 1.0


class SwinV2Block(nn.Module):
    """z' = LN((S)W-MSA(z)) + z, then z = LN(MLP(z')) + z'  [section 3.2]."""

    def __init__(self, config: SwinV2Config, stage: int, drop_path: float) -> None:
        super().__init__()
        width = config.width_of(stage)
        self.attn = CosineWindowAttention(config, stage)
        self.norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = Mlp(width, int(width * config.mlp_ratio), config.gelu, config.dropout)
        self.norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        tokens: Float[Tensor, "b n d"],
        windows: Windows,
        trace: Trace | None = None,
    ) -> Float[Tensor, "b n d"]:
        tokens = tokens + self.drop_path(self.norm1(self.attn(tokens, windows, trace)))
        return tokens + self.drop_path(self.norm2(self.mlp(tokens)))


class MergeThenNorm(nn.Module):
    """Patch merging with the norm after the projection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(2 * width, eps=OUTER_EPS)

    def forward(
        self, tokens: Float[Tensor, "b n d"], grid: Grid, trace: Trace | None = None
    ) -> Float[Tensor, "b m e"]:
        return self.norm(self.reduction(squares_of(tokens, grid, trace)))


class SwinV2(Swin):
    """Pixels to logits. An empty `Trace` records the pass; the logits stay bit-identical."""
