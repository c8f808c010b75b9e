"""The names of a checkpoint's classes, from a file beside its weights or one that a user gives."""

import json
from pathlib import Path
from typing import Any

from vit_demo.checkpoints.files import LABELS
from vit_demo.checks import is_whole
from vit_demo.errors import CheckpointError

# One name a line, as a well-known ViT tutorial keeps it. Its photos are prepared in its own way.
CLASS_LIST = "cls_classes.txt"
# In the order in which they are looked for.
NAMES = (LABELS, CLASS_LIST, "classes.txt", "labels.txt")
ENCODINGS = ("utf-8-sig", "gbk")


def find(weights: Path) -> Path | None:
    """The file of names that belongs to a file of weights; None where there is none.

    It lies beside the weights; or beside their folder, where a training script was started that
    keeps its weights one folder below; or in `model_data` there.
    """
    folder = weights.absolute().parent
    for place in (folder, folder.parent, folder.parent / "model_data"):
        for name in NAMES:
            if (place / name).is_file():
                return place / name
    return None


def read(path: Path, classes: int, source: str) -> tuple[str, ...]:
    """One name for each of so many classes, in the order of their numbers.

    JSON numbers the names ({"0": "daisy"}), or the other way round ({"daisy": 0}), or lists them;
    any other file has one name a line. UTF-8 or GBK. Raises CheckpointError for anything else, and
    where the number of names is not that of the classes.
    """
    text = _text(path, source)
    numbered = _from_json(text, path, source) if path.suffix == ".json" else _from_lines(text)
    if set(numbered) != set(range(classes)):
        raise CheckpointError(
            f"{source}: {path} numbers {len(numbered)} classes and the model has {classes}; "
            'write {"0": "daisy", "1": …} with one entry for each, or name another file with '
            "--classes."
        )
    return tuple(numbered[index] for index in range(classes))


def _text(path: Path, source: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{source}: the class names in {path} cannot be read ({error.strerror}); name a file "
            "that you may open."
        ) from error
    for encoding in ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CheckpointError(
        f"{source}: the class names in {path} are neither UTF-8 nor GBK text; save them as UTF-8."
    )


def _from_lines(text: str) -> dict[int, str]:
    names = [line.strip() for line in text.splitlines()]
    return dict(enumerate(name for name in names if name))


def _from_json(text: str, path: Path, source: str) -> dict[int, str]:
    try:
        content = json.loads(text)
        # Half a character, as in "\ud800", can be written nowhere.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source}: {path.name} cannot be read ({error}).") from error
    if (numbered := _numbered(content)) is None:
        raise CheckpointError(
            f'{source}: {path.name} numbers no class names; write {{"0": "daisy", "1": …}}.'
        )
    return numbered


def _numbered(content: Any) -> dict[int, str] | None:
    """Names by their numbers, whichever of the two comes first; None for anything else."""
    match content:
        case list() if all(isinstance(name, str) for name in content):
            return dict(enumerate(content))
        case dict() if content and all(is_whole(number) for number in content.values()):
            numbered = {number: name for name, number in content.items()}
            return numbered if len(numbered) == len(content) else None
        case dict() if all(_is_number(index) for index in content):
            return {int(index): str(name) for index, name in content.items()}
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len("1000000")
