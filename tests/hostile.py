"""Invalid checkpoints: every entry of a checkpoint's JSON is replaced in turn."""

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VALUES: tuple[Any, ...] = (
    *(math.nan, math.inf, -1, 0, 1.5, True, "x", [], {}, [1, 2], None),
    *(10**400, 2**70, 1e-320, 1e30),
)

JSON_FILES = ("config.json", "preprocessor_config.json")

Place = tuple[str | int, ...]


def remade(config: Any, **changes: Any) -> None:
    """Make a frozen configuration with other values, as code does whose annotations nobody checks.

    The tests check them all, so that a value of the wrong kind would come no further.
    """
    changed = copy.copy(config)
    for name, value in changes.items():
        object.__setattr__(changed, name, value)
    changed.__post_init__()


def places(content: Any, above: Place = ()) -> Iterator[Place]:
    """The path of every entry of nested JSON."""
    if isinstance(content, dict):
        below = list(content.items())
    elif isinstance(content, list):
        below = list(enumerate(content))
    else:
        below = []
    for name, entry in below:
        yield (*above, name)
        yield from places(entry, (*above, name))


def mutations(folder: Path) -> Iterator[tuple[str, Place, Any]]:
    """Every file, place and value that `mutated` can be given for a checkpoint's folder."""
    for name in JSON_FILES:
        if (folder / name).exists():
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            yield from ((name, place, value) for place in places(content) for value in VALUES)


def mutated(content: Any, place: Place, value: Any) -> Any:
    """A copy of nested JSON with another value at one path."""
    changed = copy.deepcopy(content)
    holder = changed
    for name in place[:-1]:
        holder = holder[name]
    holder[place[-1]] = value
    return changed
