"""The colour bar and the words under a map, as HTML that follows the page's light or dark theme."""

from html import escape

from vit_demo.captions import Picture

STOPS, TICKS = 12, 5


def legend(picture: Picture) -> str:
    """A gradient with its numbers, what it measures, and where the map comes from."""
    scale = picture.scale
    step = (scale.high - scale.low) / (TICKS - 1)
    values = (scale.low + step * tick for tick in range(TICKS))
    ticks = [picture.number(value) for value in values]
    if scale.clipped:
        ticks[-1] = f"≥ {ticks[-1]}"
        ticks[0] = f"≤ {ticks[0]}" if scale.signed else ticks[0]
    numbers = "".join(f"<span>{tick}</span>" for tick in ticks)
    colours = ", ".join(scale.stops(STOPS))
    return (
        f'<div class="legend"><div class="bar" style="background:linear-gradient(90deg,{colours})">'
        f'</div><div class="ticks">{numbers}</div><div class="unit">{escape(picture.unit)}</div>'
        f"<p>{escape(picture.caption)}</p></div>"
    )


def about(source: str, known_classes: str, unsure_note: str = "") -> str:
    """Which checkpoint answered, what it can name, and any doubt; from its files, so escaped."""
    unsure = f'<p class="unsure">{escape(unsure_note)}</p>' if unsure_note else ""
    return f'{unsure}<p class="about"><b>{escape(source)}</b><br>{escape(known_classes)}</p>'
