"""The photo as the model reads it: cut into patches."""

from PIL import Image

# Zoom of the model's small picture, and the gap between two patches, in drawn pixels.
ZOOM, GAP = 4, 3


def draw_patches(
    picture: Image.Image, patch_size: int, zoom: int = ZOOM, gap: int = GAP
) -> Image.Image:
    """The very pixels that the model is given, every patch a tile of its own.

    Pixels are not smoothed. What is left over at the right and at the bottom, less than one
    patch, is not drawn because the model does not read it. The gaps are transparent.
    """
    rows, cols = picture.height // patch_size, picture.width // patch_size
    tile = patch_size * zoom
    sheet = Image.new("RGBA", (cols * (tile + gap) - gap, rows * (tile + gap) - gap))
    for row in range(rows):
        for col in range(cols):
            corner = col * patch_size, row * patch_size
            patch = picture.crop((*corner, corner[0] + patch_size, corner[1] + patch_size))
            enlarged = patch.resize((tile, tile), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (col * (tile + gap), row * (tile + gap)))
    return sheet
