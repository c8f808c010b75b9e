"""Read the class names of a checkpoint from a file next to its weights or from a user's file."""

import json
from pathlib import Path
from typing import Any

from vit_demo.checkpoints.files import LABELS
from vit_demo.checks import is_whole
from vit_demo.errors import CheckpointError

# One name per line, as in a well-known ViT tutorial, which has its own preprocessing.
CLASS_LIST = "cls_classes.txt"
# In search order.
NAMES = (LABELS, CLASS_LIST, "classes.txt", "labels.txt")
ENCODINGS = ("utf-8-sig", "gbk")


def find(weights: Path) -> Path | None:
    """Find the file of class names that belongs to a weights file; None if there is none.

    Searched are the folder of the weights, its parent folder, from which a training script may have
    been started, and `model_data` in the parent folder.
    """
    folder = weights.absolute().parent
    for place in (folder, folder.parent, folder.parent / "model_data"):
        for name in NAMES:
            if (place / name).is_file():
                return place / name
    return None


def read(path: Path, classes: int, source: str) -> tuple[str, ...]:
    """Read one name per class, in the order of the class indices.

    JSON maps indices to names ({"0": "daisy"}) or names to indices ({"daisy": 0}), or lists the
    names; any other file has one name per line. The encoding is UTF-8 or GBK. Raises
    CheckpointError for anything else, and if the number of names is not the number of classes.
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
        # A lone surrogate, such as "\ud800", cannot be encoded in UTF-8.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source}: {path.name} cannot be read ({error}).") from error
    if (numbered := _numbered(content)) is None:
        raise CheckpointError(
            f'{source}: {path.name} numbers no class names; write {{"0": "daisy", "1": …}}.'
        )
    return numbered


def _numbered(content: Any) -> dict[int, str] | None:
    """Names by index, from index → name, name → index, or a list; None for anything else."""
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
