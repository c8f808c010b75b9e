"""A map drawn over its photo."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageEnhance
from torch import Tensor

from vit_demo.figures.colour import ColourScale

Box = tuple[float, float, float, float]
Pixels = tuple[int, int, int, int]

# Longer side of a drawn picture in pixels: sharp on a projector, and small enough to send quickly.
LONG_SIDE = 1024

# Color saturation of the photo under the map, and brightness of the photo outside the map.
SATURATION, BRIGHTNESS_OUTSIDE = 0.35, 0.25
FRAME = (150, 150, 150)


def draw_overlay(
    photo: Image.Image,
    heatmap: Float[Tensor, "rows cols"],
    box: Box,
    scale: ColourScale,
    input_box: Box | None = None,
    opacity: float = 0.65,
    smooth: bool = False,
    long_side: int = LONG_SIDE,
) -> Image.Image:
    """Color the part of the photo inside `box` (in pixels of the photo) by the patch values.

    The other parameters are those of `draw_patch_colors`.
    """
    colours = scale.colours(heatmap)
    return draw_patch_colors(photo, colours, box, input_box, opacity, smooth, long_side)


def draw_patch_colors(
    photo: Image.Image,
    colors: UInt8[np.ndarray, "rows cols 3"],
    box: Box,
    input_box: Box | None = None,
    opacity: float = 0.65,
    smooth: bool = False,
    long_side: int = LONG_SIDE,
) -> Image.Image:
    """Draw one RGB color per patch over the part of the photo inside `box` (in its pixels).

    `input_box` is the part of the photo in the model's input (default `box`). Padded patches can
    extend beyond it; they keep their size and are clipped. The photo outside is darkened, behind a
    thin frame. Patches have sharp edges unless `smooth`, because the model has one value per patch.
    """
    zoom = long_side / max(photo.size)
    base = photo.resize((round(photo.width * zoom), round(photo.height * zoom)))
    base = ImageEnhance.Color(base).enhance(SATURATION)
    left, top, right, bottom = (round(edge * zoom) for edge in box)
    size = max(right - left, 1), max(bottom - top, 1)
    resample = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    colours = Image.fromarray(colors).resize(size, resample)
    inner = _clipped((left, top, left + size[0], top + size[1]), input_box, zoom)
    colours = colours.crop((inner[0] - left, inner[1] - top, inner[2] - left, inner[3] - top))
    drawn = ImageEnhance.Brightness(base).enhance(BRIGHTNESS_OUTSIDE)
    drawn.paste(Image.blend(base.crop(inner), colours, opacity), inner[:2])
    frame = (inner[0] - 1, inner[1] - 1, inner[2], inner[3])
    ImageDraw.Draw(drawn).rectangle(frame, outline=FRAME)
    return drawn


def _clipped(drawn: Pixels, input_box: Box | None, zoom: float) -> Pixels:
    """The intersection of the drawn box with `input_box`, in drawn pixels."""
    if input_box is None:
        return drawn
    left, top, right, bottom = (round(edge * zoom) for edge in input_box)
    return max(drawn[0], left), max(drawn[1], top), min(drawn[2], right), min(drawn[3], bottom)
