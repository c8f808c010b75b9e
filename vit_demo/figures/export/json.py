"""The numbers as one JSON object."""

import json
from pathlib import Path

from vit_demo.errors import OutputError
from vit_demo.figures.export.document import Document


def write(document: Document, path: Path) -> None:
    """Write the numbers; raises OutputError if the file cannot be written."""
    try:
        path.write_text(json.dumps(document.content) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written ({error.strerror}).") from error
