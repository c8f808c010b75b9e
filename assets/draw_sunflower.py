"""Draw assets/examples/drawn-sunflower.png: a flower that nobody photographed.

python assets/draw_sunflower.py
"""

import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIDE = 720
CENTRE = (SIDE * 0.52, SIDE * 0.43)
DISC, PETAL = SIDE * 0.155, SIDE * 0.19

# Each seed turns by the golden angle from the one before: Vogel's model of a sunflower head.
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
SEEDS = 620

# The picture is drawn larger and reduced at the end, which smooths its edges.
OVERSAMPLING = 3


def background() -> Image.Image:
    """A sky that turns into a blurred meadow."""
    strip = Image.new("RGB", (1, 6))
    for row, colour in enumerate(
        [
            (116, 172, 223),
            (150, 196, 232),
            (186, 216, 226),
            (128, 168, 84),
            (86, 136, 56),
            (52, 98, 40),
        ]
    ):
        strip.putpixel((0, row), colour)
    side = SIDE * OVERSAMPLING
    return strip.resize((side, side), Image.Resampling.BICUBIC)


def place(angle: float, distance: float) -> tuple[float, float]:
    """A point seen from the centre of the flower, in oversampled pixels."""
    x, y = CENTRE
    return (
        (x + distance * math.cos(angle)) * OVERSAMPLING,
        (y + distance * math.sin(angle)) * OVERSAMPLING,
    )


def draw_ring(draw: ImageDraw.ImageDraw, count: int, turn: float, reach: float, light: int) -> None:
    """One ring of pointed petals, each a little different in length and colour."""
    for number in range(count):
        angle = turn + 2 * math.pi * number / count
        length = DISC + reach * (1 + 0.12 * math.sin(7.3 * number))
        half = math.pi / count * 1.25
        summary = [
            place(angle - half * 0.55, DISC * 0.8),
            place(angle - half, DISC + reach * 0.45),
            place(angle, length),
            place(angle + half, DISC + reach * 0.45),
            place(angle + half * 0.55, DISC * 0.8),
        ]
        shade = int(14 * math.sin(3.1 * number))
        draw.polygon(summary, fill=(236 + light // 2, 168 + light + shade, 22 + light // 2))
        draw.line([place(angle, DISC), place(angle, length * 0.93)], fill=(206, 132, 12), width=3)


def draw_stem(draw: ImageDraw.ImageDraw) -> None:
    """A stem and two leaves."""
    x, y = (value * OVERSAMPLING for value in CENTRE)
    bottom = SIDE * OVERSAMPLING
    wide = SIDE * OVERSAMPLING * 0.017
    draw.polygon(
        [(x - wide, y), (x + wide, y), (x + wide * 2.5, bottom), (x - wide * 0.5, bottom)],
        fill=(74, 122, 44),
    )
    for side in (-1, 1):
        root = (x + wide, bottom * 0.86)
        tip = (x + side * bottom * 0.24, bottom * (0.74 if side < 0 else 0.79))
        middle_x, middle_y = (root[0] + tip[0]) / 2, (root[1] + tip[1]) / 2
        draw.polygon(
            [
                root,
                (middle_x, middle_y - bottom * 0.07),
                tip,
                (middle_x, middle_y + bottom * 0.035),
            ],
            fill=(84, 140, 50),
        )


def draw_seeds(draw: ImageDraw.ImageDraw) -> None:
    """Vogel's spiral: seed n stands at n golden angles, at a distance that grows as √n."""
    draw.ellipse(
        [*place(math.pi * 1.25, DISC * math.sqrt(2)), *place(math.pi / 4, DISC * math.sqrt(2))],
        fill=(70, 42, 18),
    )
    for seed in range(SEEDS):
        part = seed / SEEDS
        x, y = place(seed * GOLDEN_ANGLE, DISC * math.sqrt(part))
        size = OVERSAMPLING * (2.2 + 2.6 * part)
        fill = (58 + int(96 * part), 38 + int(52 * part), 18 + int(10 * part))
        draw.ellipse([x - size, y - size, x + size, y + size], fill=fill)


def main() -> None:
    """Draw and save."""
    picture = background()
    draw = ImageDraw.Draw(picture)
    draw_stem(draw)
    draw_ring(draw, 21, 0.07, PETAL * 1.08, -18)
    draw_ring(draw, 21, 0.22, PETAL, 10)
    draw_ring(draw, 13, 0.4, PETAL * 0.78, 26)
    draw_seeds(draw)
    small = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    small = small.filter(ImageFilter.GaussianBlur(0.6))
    small.save(Path(__file__).parent / "examples" / "drawn-sunflower.png", optimize=True)


if __name__ == "__main__":
    main()
