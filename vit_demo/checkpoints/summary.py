"""What a checkpoint's configuration states, before any weights are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from vit_demo.checkpoints import hf_format, timm_format
from vit_demo.checkpoints.catalogue import bundled
from vit_demo.checkpoints.family import check_classifier, layout_of, model_of, name_of
from vit_demo.checkpoints.files import CONFIG, read_json
from vit_demo.checkpoints.hub import cached, peek
from vit_demo.checkpoints.processor import stored_processor
from vit_demo.checkpoints.reference import parse
from vit_demo.checkpoints.weights import SAFETENSORS, weight_files
from vit_demo.checks import is_whole
from vit_demo.errors import CheckpointError
from vit_demo.models import Classifier

Place = Literal["bundled", "on this machine", "in the cache"]


@dataclass(frozen=True)
class CheckpointSummary:
    """A local checkpoint, described without its weights.

    `classes` is the number of classes that its configuration states, or None.
    """

    family: str
    model: type[Classifier]
    classes: int | None
    place: Place


def summarize(ref: str, paths: bool = True, allow_pickle: bool = False) -> CheckpointSummary | None:
    """Read the configuration of a local `ref`; uses no network.

    None if it is not in the cache or has no configuration, such as a tutorial's .pth. Raises
    NotFoundError for an invalid reference, UnsupportedError for an unsupported family,
    CheckpointError for a damaged configuration.
    """
    reference = parse(ref, paths)
    if isinstance(reference, Path):
        folder, place = reference, "bundled" if ref in bundled() else "on this machine"
    else:
        snapshot = peek(reference, allow_pickle)
        folder, place = snapshot and snapshot.folder, "in the cache"
    if folder is None or not (folder / CONFIG).is_file():
        return None
    source = f"'{ref}'"
    config_json = read_json(folder / CONFIG, source)
    layout = layout_of(config_json, folder, source)
    if layout == "bare":
        return None
    reader = timm_format if layout == "timm" else hf_format
    family = reader.check_family(config_json, source)
    return CheckpointSummary(name_of(family), model_of(family), _classes(config_json), place)


def works_offline(allow_pickle: bool = False) -> list[str]:
    """References that need no network: the bundled ones, and the usable ones in the cache."""
    complete = cached(lambda config_json: check_classifier(config_json, ""), allow_pickle)
    return [
        *bundled(),
        *(str(snapshot.reference) for snapshot in complete if _can_be_opened(snapshot.folder)),
    ]


def _can_be_opened(folder: Path) -> bool:
    """Whether a cached checkpoint can be opened; of the weights only the header is read."""
    try:
        stored_processor(folder, "")
        for path in weight_files(folder, allow_pickle=False):
            if path.suffix == SAFETENSORS:
                with safe_open(path, "pt"):
                    pass
    except (CheckpointError, SafetensorError, OSError):
        return False
    return True


def _classes(config_json: Mapping[str, Any]) -> int | None:
    """The number of classes in either layout; transformers does not write its default, 2."""
    named = config_json.get("id2label")
    if isinstance(named, dict):
        return len(named)
    stated = config_json.get("num_classes", config_json.get("num_labels"))
    return stated if is_whole(stated) else None
