"""The token of a patch, and how similar other tokens are to it.

b   batch            rows, cols   the patch grid            d   token width
"""

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from vit_demo.errors import MethodError, OptionError
from vit_demo.explanations.attention import layer_at
from vit_demo.explanations.queries import Patch, places
from vit_demo.explanations.traced_pass import Heatmap, TracedPass


def token_similarity(
    traced: TracedPass, patch: Patch, layer: int = -1, other: TracedPass | None = None
) -> Heatmap:
    """The cosine similarity of a patch's token to all patch tokens after one layer; in [−1, 1].

    The patch is (row, column) from 0. Layers are numbered from 1; −1 is the last one. With `other`,
    a second pass of the same model, the map is over the patches of that photo. Raises OptionError
    for a patch or layer that does not exist, MethodError as `patch_tokens` does.
    """
    rows, cols = traced.grid
    row, col = patch
    if not (0 <= row < rows and 0 <= col < cols):
        raise OptionError(
            f"There is no patch {patch}; rows are 0 to {rows - 1} and columns 0 to {cols - 1}."
        )
    if other is not None and other.model is not traced.model:
        raise MethodError(
            "Tokens of two different models cannot be compared; run both photos through the same "
            "checkpoint."
        )
    query = functional.normalize(patch_tokens(traced, layer)[:, row, col], dim=-1)
    keys = functional.normalize(patch_tokens(other or traced, layer), dim=-1)
    return einsum(query, keys, "b d, b rows cols d -> b rows cols")


def all_similarities(traced: TracedPass, layer: int = -1) -> Float[Tensor, "patches patches"]:
    """The cosine similarity of any two patch tokens of the first photo; see `token_similarity`.

    Row i is the map of patch i, in row-major order.
    """
    tokens = rearrange(patch_tokens(traced, layer)[0], "rows cols d -> (rows cols) d")
    unit = functional.normalize(tokens, dim=-1)
    return einsum(unit, unit, "i d, j d -> i j")


def patch_tokens(traced: TracedPass, layer: int = -1) -> Float[Tensor, "b rows cols d"]:
    """The token of every patch after one layer, numbered from 1; −1 is the last one.

    Patches that were merged share one token. The pass must keep its hidden states:
    `run_with_trace(model, pixels, hidden_states=True)`. Raises OptionError for a layer that does
    not exist, MethodError for a model without tokens between its layers.
    """
    if not (traced.trace.hidden_states or traced.trace.gradients):
        raise RuntimeError("This pass kept no hidden states; run it with hidden_states=True.")
    chosen = layer_at(traced, layer)
    if chosen not in traced.trace.outputs:
        raise MethodError(
            "This architecture has convolutions between its layers, so it has no tokens to "
            "compare; choose a ViT, DeiT, DINOv2 or Swin checkpoint."
        )
    before = traced.trace.flows[: traced.trace.flows.index(chosen)]
    # The token that contains each patch; prefix tokens contain none.
    token_of_patch = places(before, chosen.tokens, traced.logits).argmax(dim=0)
    return rearrange(
        traced.trace.outputs[chosen][:, token_of_patch].detach(),
        "b (rows cols) d -> b rows cols d",
        rows=traced.grid[0],
    )


def token_colors(traced: TracedPass, layer: int = -1) -> Float[Tensor, "b rows cols 3"]:
    """The first three principal components of one photo's patch tokens, as red, green and blue.

    The tokens after one layer (as in `patch_tokens`) are centered on their mean over the patches.
    The sign of a component is arbitrary, so its largest weight by absolute value is made positive.
    Each color channel is scaled to the range 0 to 1 over the patches; a constant channel is 0.5.
    The colors are comparable only within one photo.
    """
    tokens = rearrange(patch_tokens(traced, layer), "b rows cols d -> b (rows cols) d").double()
    centred = tokens - tokens.mean(dim=1, keepdim=True)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:, :3]
    largest = directions.gather(2, directions.abs().argmax(dim=2, keepdim=True))
    scores = einsum(centred, directions * largest.sign(), "b n d, b color d -> b n color")
    low, high = scores.amin(dim=1, keepdim=True), scores.amax(dim=1, keepdim=True)
    # A range below the rounding error of the tokens is only noise.
    varies = high - low > torch.finfo(torch.float32).eps * tokens.abs().amax(
        dim=(1, 2), keepdim=True
    )
    colors = torch.where(varies, (scores - low) / (high - low), 0.5)
    missing = 3 - colors.shape[2]
    return rearrange(
        functional.pad(colors, (0, missing), value=0.5).float(),
        "b (rows cols) color -> b rows cols color",
        rows=traced.grid[0],
    )
