"""Attention rollout: how much of each patch reaches the read-out through all layers."""

from jaxtyping import Float, Int
from torch import Tensor, eye

from vit_demo.explanations.watched import Heatmap, Watched
from vit_demo.flow import Trace, carry


def rollout(watched: Watched, target: Int[Tensor, " b"]) -> Heatmap:
    """Pull the read-out through ½Ā + ½I from the last layer to the first (arXiv 2005.00928).

    Ā is the mean over the heads. The map is the same for every class, so `target` plays no part.
    """
    del target
    return watched.on_grid(carry(watched.trace.flows, watched.read_out))


def token_rollout(trace: Trace, batch: int = 1) -> Float[Tensor, "b n n"]:
    """Rollout for every token at once: row i says where token i's final state came from.

    Only the attention layers are followed, so prefix tokens keep their columns; rows sum to one.
    """
    layers = trace.layers
    identity = eye(layers[-1].tokens, device=layers[-1].query.device)
    return carry(layers, identity.expand(batch, -1, -1))
