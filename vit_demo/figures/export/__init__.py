"""Export: suffix → writer. Adding a format takes one file and one row."""

from collections.abc import Callable, Iterable
from pathlib import Path

from vit_demo.errors import OutputError
from vit_demo.figures.export import json, pdf, png, svg
from vit_demo.figures.export.document import Document

__all__ = ["WRITERS", "Document", "check_suffix", "suffixes", "write"]

# A writer raises OutputError if the file cannot be written.
WRITERS: dict[str, Callable[[Document, Path], None]] = {
    ".json": json.write,
    ".png": png.write,
    ".svg": svg.write,
    ".pdf": pdf.write,
}


def suffixes(without: Iterable[str] = ()) -> str:
    """The suffixes of all formats in one line, except those in `without`."""
    return ", ".join(suffix for suffix in WRITERS if suffix not in without)


def check_suffix(path: Path) -> None:
    """Raise OutputError, with the known suffixes, for a suffix without a writer."""
    if path.suffix.lower() not in WRITERS:
        raise OutputError(f"'{path}' has no suffix of a supported format; use {suffixes()}.")


def write(document: Document, path: Path) -> None:
    """Write the file in the format of its suffix; OutputError if that is not possible."""
    check_suffix(path)
    WRITERS[path.suffix.lower()](document, path)
