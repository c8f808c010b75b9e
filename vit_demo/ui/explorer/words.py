"""The texts of the explorer, one table per language; placeholders are names in braces."""

import json
from functools import cache
from pathlib import Path

from vit_demo.errors import OptionError

TABLES = Path(__file__).parent / "tables"
LANGUAGES = tuple(sorted(path.stem for path in TABLES.glob("*.json")))
DEFAULT_LANGUAGE = "en"


@cache
def words(language: str = DEFAULT_LANGUAGE) -> dict[str, str]:
    """The table of one language; raises OptionError if there is none."""
    if language not in LANGUAGES:
        raise OptionError(f"language={language}, but it is one of: {', '.join(LANGUAGES)}.")
    return json.loads((TABLES / f"{language}.json").read_text(encoding="utf-8"))
