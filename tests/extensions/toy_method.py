"""A method that the package does not have: the share of the photo's brightness."""

from einops import reduce

from vit_demo.explanations import Method


def brightness(traced, target, *, power: int = 1):
    del target
    rows, cols = traced.grid
    bright = reduce(
        traced.pixels.exp(), "b c (rows p) (cols q) -> b rows cols", "mean", rows=rows, cols=cols
    )
    return bright**power / (bright**power).sum(dim=(1, 2), keepdim=True)


METHOD = Method(
    "brightness",
    brightness,
    "How bright each patch is.",
    "a toy",
    "0",
    unit="share of the brightness",
    follows_flows=False,
)
