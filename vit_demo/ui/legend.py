"""The colour bar and the words under a map, as HTML that follows the page's light or dark theme."""

from html import escape

from vit_demo.present import Picture

STOPS, TICKS = 12, 5


def legend(picture: Picture) -> str:
    """A gradient with its numbers, what it measures, and where the map comes from."""
    scale = picture.scale
    step = (scale.high - scale.low) / (TICKS - 1)
    ticks = [f"{scale.low + step * tick:.2%}" for tick in range(TICKS)]
    if scale.clipped:
        ticks[-1] = f"≥ {ticks[-1]}"
    numbers = "".join(f"<span>{tick}</span>" for tick in ticks)
    colours = ", ".join(scale.stops(STOPS))
    return (
        f'<div class="legend"><div class="bar" style="background:linear-gradient(90deg,{colours})">'
        f'</div><div class="ticks">{numbers}</div><div class="unit">{escape(picture.unit)}</div>'
        f"<p>{escape(picture.caption)}</p></div>"
    )


def about(source: str, knows: str) -> str:
    """Which checkpoint answered and what it can name; both come from its files, so are escaped."""
    return f'<p class="about"><b>{escape(source)}</b><br>{escape(knows)}</p>'
