"""What a patch looks like to the model: its token, and how similar other tokens are to it.

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
    """The cosine between a patch's token and those of all patches, after one layer; in [−1, 1].

    The patch is (row, column) from 0. Layers are counted from 1; −1 is the last one. With `other`,
    a second pass of the same model, the map lies on the patches of its photo. Raises OptionError
    outside the grid or the model, MethodError as `patch_tokens` does.
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
    asked = functional.normalize(patch_tokens(traced, layer)[:, row, col], dim=-1)
    answers = functional.normalize(patch_tokens(other or traced, layer), dim=-1)
    return einsum(asked, answers, "b d, b rows cols d -> b rows cols")


def all_similarities(traced: TracedPass, layer: int = -1) -> Float[Tensor, "patches patches"]:
    """The cosine between the tokens of any two patches of the first photo; see `token_similarity`.

    Row i, counted row by row over the grid, is the map of patch i.
    """
    tokens = rearrange(patch_tokens(traced, layer)[0], "rows cols d -> (rows cols) d")
    unit = functional.normalize(tokens, dim=-1)
    return einsum(unit, unit, "i d, j d -> i j")


def patch_tokens(traced: TracedPass, layer: int = -1) -> Float[Tensor, "b rows cols d"]:
    """The token of every patch after one layer, counted from 1; −1 is the last one.

    Where a token stands for several patches, each of them has it. The pass must have kept its
    hidden states: `run_with_trace(model, pixels, hidden_states=True)`. Raises OptionError outside
    the model, MethodError for a model that keeps no tokens from layer to layer.
    """
    if not (traced.trace.hidden_states or traced.trace.gradients):
        raise RuntimeError("This pass kept no tokens; make it with hidden_states=True.")
    chosen = layer_at(traced, layer)
    if chosen not in traced.trace.outputs:
        raise MethodError(
            "This architecture has convolutions between its layers, so it keeps no tokens from "
            "layer to layer; choose a ViT, DeiT, DINOv2 or Swin checkpoint."
        )
    before = traced.trace.flows[: traced.trace.flows.index(chosen)]
    # Which token each patch went into: tokens that stand nowhere have no share in any.
    token_of_patch = places(before, chosen.tokens, traced.logits).argmax(dim=0)
    return rearrange(
        traced.trace.outputs[chosen][:, token_of_patch].detach(),
        "b (rows cols) d -> b rows cols d",
        rows=traced.grid[0],
    )


def token_colors(traced: TracedPass, layer: int = -1) -> Float[Tensor, "b rows cols 3"]:
    """The first three principal components of one photo's patch tokens, as red, green and blue.

    The tokens after one layer (as in `patch_tokens`) are centred on their mean over the patches.
    A component has no sign of its own: its largest weight, by absolute value, is made positive.
    Each color is scaled to fill 0 to 1 over the patches; one that does not vary is 0.5. The colors
    compare the patches of this photo only.
    """
    tokens = rearrange(patch_tokens(traced, layer), "b rows cols d -> b (rows cols) d").double()
    centred = tokens - tokens.mean(dim=1, keepdim=True)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:, :3]
    largest = directions.gather(2, directions.abs().argmax(dim=2, keepdim=True))
    scores = einsum(centred, directions * largest.sign(), "b n d, b color d -> b n color")
    low, high = scores.amin(dim=1, keepdim=True), scores.amax(dim=1, keepdim=True)
    # Below the rounding of the tokens there is nothing but noise.
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
