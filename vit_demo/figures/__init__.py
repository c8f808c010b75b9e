"""Drawing: figures take heatmaps, photos and numbers, and know nothing about models."""

from vit_demo.figures.colour import ColourScale
from vit_demo.figures.overlay import draw_overlay
from vit_demo.figures.patches import draw_patches
from vit_demo.figures.sheet import Sheet, draw_sheet

__all__ = ["ColourScale", "Sheet", "draw_overlay", "draw_patches", "draw_sheet"]
