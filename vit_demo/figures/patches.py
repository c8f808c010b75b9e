"""The photo as the model reads it: cut into patches."""

from PIL import Image

# Zoom of the model's small picture, and the gap between two patches, in drawn pixels.
ZOOM, GAP = 4, 3


def draw_patches(
    picture: Image.Image,
    patch_size: int,
    grid: tuple[int, int],
    zoom: int = ZOOM,
    gap: int = GAP,
) -> Image.Image:
    """The very pixels that the model is given, every patch of its (rows, columns) a tile.

    Pixels are not smoothed. Where a patch reaches beyond the picture, because the model pads it,
    there is nothing to draw; where pixels are left over, the model does not read them. Both are
    transparent, and so are the gaps.
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
