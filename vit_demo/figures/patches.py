"""The model's input, cut into patches."""

from PIL import Image

# Zoom of the model's input, and the gap between two patches in drawn pixels.
ZOOM, GAP = 4, 3


def draw_patches(
    picture: Image.Image,
    patch_size: int,
    grid: tuple[int, int],
    zoom: int = ZOOM,
    gap: int = GAP,
) -> Image.Image:
    """The exact pixels of the model's input, one tile per patch of the (rows, columns) grid.

    Pixels are enlarged without smoothing. Padding beyond the picture and the gaps are transparent;
    pixels that belong to no patch are not drawn, because the model does not read them.
    """
    rows, cols = grid
    tile = patch_size * zoom
    picture = picture.convert("RGBA")
    sheet = Image.new("RGBA", (cols * (tile + gap) - gap, rows * (tile + gap) - gap))
    for row in range(rows):
        for col in range(cols):
            corner = col * patch_size, row * patch_size
            patch = picture.crop((*corner, corner[0] + patch_size, corner[1] + patch_size))
            enlarged = patch.resize((tile, tile), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (col * (tile + gap), row * (tile + gap)))
    return sheet
