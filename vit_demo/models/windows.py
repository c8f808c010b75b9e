"""Attention within windows on a grid of tokens, shifted or not.

    b       batch                              heads    attention heads
    n       tokens of the grid, row by row     groups   windows
    d       token width                        slots    positions in one window

After Liu et al., "Swin Transformer" (arXiv 2103.14030), section 3.2.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from vit_demo.models.grids import Grid
from vit_demo.trace import PADDING, Attention, Trace

Order = Literal["pad first", "shift first"]


@dataclass(frozen=True, eq=False)
class Windows:
    """A grid divided into windows of one size, with the mapping of tokens to slots and back.

    `index` is the token in each slot, −1 for padding; `place` is the slot of each token, counted
    over all windows; `apart` marks pairs of slots that a cyclic shift put into one window although
    they are not neighbors in the grid (None without a shift).
    """

    size: Grid
    index: Int[Tensor, "groups slots"]
    place: Int[Tensor, " n"]
    apart: Bool[Tensor, "groups slots slots"] | None


def cut_windows(
    grid: Grid, window: Grid, shift: Grid, order: Order, device: torch.device
) -> Windows:
    """Divide a grid into windows after a cyclic shift (figure 4).

    Grids that are not a whole number of windows are padded at the bottom and right. `order` says
    whether before the shift, so that padding may end up inside the grid, or after it.
    """
    rows, cols = grid
    tokens = torch.arange(rows * cols, device=device).reshape(grid)
    margin = (0, -cols % window[1], 0, -rows % window[0])
    if order == "pad first":
        tokens = functional.pad(tokens, margin, value=PADDING)
    tokens = tokens.roll((-shift[0], -shift[1]), dims=(0, 1))
    if order == "shift first":
        tokens = functional.pad(tokens, margin, value=PADDING)
    index = _in_windows(tokens, window)
    everywhere = rearrange(index, "groups slots -> (groups slots)")
    padded = everywhere.numel() - rows * cols
    apart = None
    if any(shift):
        region = _in_windows(_regions((tokens.shape[0], tokens.shape[1]), window, shift), window)
        apart = (region[:, :, None] != region[:, None, :]).to(device)
    # argsort puts padding (−1) first.
    return Windows(window, index, everywhere.argsort()[padded:], apart)


def _in_windows(plane: Int[Tensor, "h w"], window: Grid) -> Int[Tensor, "groups slots"]:
    return rearrange(plane, "(rows p) (cols q) -> (rows cols) (p q)", p=window[0], q=window[1])


def _regions(grid: Grid, window: Grid, shift: Grid) -> Int[Tensor, "rows cols"]:
    """Number the regions of a shifted grid that were contiguous before the shift.

    Each axis has three regions: up to the last window, the last window up to the seam, and the part
    that the cyclic shift moved here from the other end. The seam is counted from the end of the
    padded grid. With padding after the shift, that is not the true seam, so that some moved tokens
    attend to the opposite edge; timm's models were trained with this, so it is kept.
    """
    down, across = (
        (torch.arange(side) >= side - part).int() + (torch.arange(side) >= side - moved).int()
        for side, part, moved in zip(grid, window, shift, strict=True)
    )
    return 3 * down[:, None] + across[None]


def relative_offsets(window: Grid, table: Grid, device: torch.device) -> Int[Tensor, "slots slots"]:
    """The row of the relative position table for each pair of slots of a window.

    The table has one row for every offset within a window of the size `table`, (2h−1)(2w−1) of
    them; the window itself may be smaller.
    """
    row, col = (
        rearrange(plane, "p q -> (p q)")
        for plane in torch.meshgrid(
            *(torch.arange(side, device=device) for side in window), indexing="ij"
        )
    )
    down = row[:, None] - row[None] + table[0] - 1
    across = col[:, None] - col[None] + table[1] - 1
    return down * (2 * table[1] - 1) + across


class WindowAttention(nn.Module):
    """Multi-head self-attention within each window, with a relative position bias [eq. 4].

    Padding tokens are zeros and take part in attention, as in the published models.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        window: Grid,
        qkv_bias: bool,
        attention_dropout: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.attention_dropout = attention_dropout
        self.add_bias()
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(dropout)

    def add_bias(self) -> None:
        """Create the parameters that `by_offset` uses."""
        offsets = (2 * self.window[0] - 1) * (2 * self.window[1] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(offsets, self.heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def by_offset(self, windows: Windows) -> Float[Tensor, "slots slots heads"]:
        """The bias on the scores of every pair of slots."""
        offsets = relative_offsets(windows.size, self.window, windows.index.device)
        return self.relative_position_bias_table[offsets]

    def compared(
        self, query: Float[Tensor, "bg heads n d"], key: Float[Tensor, "bg heads n d"]
    ) -> tuple[Float[Tensor, "bg heads n d"], Float[Tensor, "bg heads n d"], float | None]:
        """Queries and keys before multiplication, and the scale; None is the default 1/√d."""
        return query, key, None

    def forward(
        self,
        tokens: Float[Tensor, "b n d"],
        windows: Windows,
        trace: Trace | None = None,
    ) -> Float[Tensor, "b n d"]:
        # The index −1 of padding selects the appended token of zeros.
        slots = functional.pad(tokens, (0, 0, 0, 1))[:, windows.index]
        query, key, value = rearrange(
            self.qkv(slots),
            "b groups slots (three heads d) -> three (b groups) heads slots d",
            three=3,
            heads=self.heads,
        )
        query, key, scale = self.compared(query, key)
        bias = self.bias(windows)
        attn_output = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=repeat(bias, "groups ... -> (b groups) ...", b=query.shape[0] // len(bias)),
            dropout_p=self.attention_dropout if self.training else 0.0,
            scale=scale,
        )
        if trace is not None:
            trace.record(
                Attention(
                    query,
                    key,
                    value,
                    attn_output,
                    index=windows.index,
                    tokens=tokens.shape[1],
                    scale=query.shape[-1] ** -0.5 if scale is None else scale,
                    bias=bias,
                )
            )
        together = rearrange(
            attn_output, "(b groups) heads slots d -> b (groups slots) (heads d)", b=len(tokens)
        )
        return self.proj_drop(self.proj(together[:, windows.place]))

    def bias(self, windows: Windows) -> Float[Tensor, "groups heads slots slots"]:
        """The bias on the scores: the relative position bias, and −∞ across a seam of the shift.

        Without a shift, it has a single group, which is broadcast to all windows.
        """
        by_offset = rearrange(self.by_offset(windows), "query key heads -> 1 heads query key")
        if windows.apart is None:
            return by_offset
        return by_offset.masked_fill(windows.apart[:, None], float("-inf"))
