"""Export: suffix → writer, one file a format. Adding a format is one file and one row."""

from collections.abc import Callable, Iterable
from pathlib import Path

from vit_demo.errors import OutputError
from vit_demo.figures.export import json, pdf, png, svg
from vit_demo.figures.export.document import Document

__all__ = ["WRITERS", "Document", "check_suffix", "suffixes", "write"]

# A writer raises OutputError where the file cannot be written.
WRITERS: dict[str, Callable[[Document, Path], None]] = {
    ".json": json.write,
    ".png": png.write,
    ".svg": svg.write,
    ".pdf": pdf.write,
}


def suffixes(without: Iterable[str] = ()) -> str:
    """The suffixes of all formats in one line, but for some of them."""
    return ", ".join(suffix for suffix in WRITERS if suffix not in without)


def check_suffix(path: Path) -> None:
    """Raise OutputError, with the known suffixes, for a file that no writer can write."""
    if path.suffix.lower() not in WRITERS:
        raise OutputError(f"'{path}' ends in no format that can be written; use {suffixes()}.")


def write(document: Document, path: Path) -> None:
    """Write the file in the format of its suffix; OutputError for an unknown one, or no place."""
    check_suffix(path)
    WRITERS[path.suffix.lower()](document, path)
