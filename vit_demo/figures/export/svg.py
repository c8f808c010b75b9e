"""The picture as an SVG."""

from pathlib import Path

from vit_demo.figures.export.document import Document
from vit_demo.figures.sheet import save_figure


def write(document: Document, path: Path) -> None:
    """Write the picture; raises OutputError if the file cannot be written."""
    save_figure(document.draw(), path)
