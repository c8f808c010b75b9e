"""Raw attention: what the read-out attends to in one layer."""

from jaxtyping import Int
from torch import Tensor

from vit_demo.errors import OptionError
from vit_demo.explanations.traced_pass import Heatmap, TracedPass
from vit_demo.trace import Attention, Rule, mean_heads, one_head, propagate_back

EVERY_HEAD = 0


def attention(
    traced: TracedPass, target: Int[Tensor, " b"], *, layer: int = -1, head: int = EVERY_HEAD
) -> Heatmap:
    """The attention of one layer, from the read-out to the patches (as in arXiv 2104.14294).

    Layers and heads are numbered from 1; layer −1 is the last one, head 0 the mean over all heads.
    The map is the same for every class, so `target` is ignored. Raises OptionError for a layer or
    head that does not exist.
    """
    del target
    chosen = layer_at(traced, layer)
    rule = head_rule(chosen, layer, head)
    # Skip the other attention layers; keep this layer and the fixed geometry.
    flows = [flow for flow in traced.trace.flows if not flow.residual or flow is chosen]
    return traced.on_grid(propagate_back(flows, traced.read_out, rule, keep=0.0, gain=1.0))


def layer_at(traced: TracedPass, layer: int) -> Attention:
    """The layer with that number (from 1, or −1 for the last); OptionError if there is none."""
    layers = traced.trace.layers
    if layer == 0 or abs(layer) > len(layers):
        raise OptionError(
            f"layer={layer}, but this checkpoint has layers 1 to {len(layers)}; −1 is the last."
        )
    return layers[layer - 1 if layer > 0 else layer]


def head_rule(chosen: Attention, layer: int, head: int) -> Rule:
    """A rule for one head of a layer, or the mean of all; OptionError if there is no such head."""
    if not 0 <= head <= chosen.heads:
        raise OptionError(
            f"head={head}, but layer {layer} has heads 1 to {chosen.heads}; "
            f"{EVERY_HEAD} gives their mean."
        )
    return mean_heads if head == EVERY_HEAD else one_head(head - 1)
