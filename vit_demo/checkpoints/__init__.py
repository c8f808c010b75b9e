"""Load a checkpoint: its files become a model with labels and preprocessing."""

from dataclasses import replace
from pathlib import Path
from threading import Event

from vit_demo.checkpoints import class_names, hf_format, timm_format, tutorial_format
from vit_demo.checkpoints.cache import CheckpointCache, Progress
from vit_demo.checkpoints.catalogue import DEFAULT, bundled
from vit_demo.checkpoints.checkpoint import Checkpoint, CheckpointInfo, ParsedCheckpoint, build
from vit_demo.checkpoints.family import check_family, layout_of
from vit_demo.checkpoints.files import CONFIG, read_json
from vit_demo.checkpoints.hub import fetch
from vit_demo.checkpoints.preprocessing_presets import chosen_preprocessing
from vit_demo.checkpoints.reference import parse
from vit_demo.checkpoints.summary import CheckpointSummary, summarize, works_offline
from vit_demo.checkpoints.weights import PICKLED, missing_weights
from vit_demo.errors import CheckpointError, ConfigError, NotFoundError, UnsupportedError
from vit_demo.settings import Settings

__all__ = [
    "DEFAULT",
    "Checkpoint",
    "CheckpointCache",
    "CheckpointInfo",
    "CheckpointSummary",
    "ParsedCheckpoint",
    "bundled",
    "check_family",
    "load",
    "load_folder",
    "read",
    "read_folder",
    "summarize",
    "works_offline",
]


def load(
    ref: str = DEFAULT,
    progress: Progress | None = None,
    cancelled: Event | None = None,
    allow_pickle: bool = False,
    paths: bool = True,
    preprocessing: str | None = None,
    classes: Path | None = None,
) -> Checkpoint:
    """Load a checkpoint: a bundled name, a folder or .pth, or a Hub id `owner/name[@revision]`.

    See `read` for the arguments and errors. Also raises StateDictMismatchError if the tensors do
    not fit the model.
    """
    stored, revision = read(
        ref, progress, cancelled, allow_pickle, paths, preprocessing=preprocessing, classes=classes
    )
    return build(stored, ref, revision)


def load_folder(folder: Path) -> Checkpoint:
    """Load a local folder, even if a bundled checkpoint has the same name.

    Raises the same errors as `load`.
    """
    ref = str(folder)
    return build(read_folder(folder, ref), ref, None)


def read(
    ref: str,
    progress: Progress | None = None,
    cancelled: Event | None = None,
    allow_pickle: bool = False,
    paths: bool = True,
    *,
    preprocessing: str | None = None,
    classes: Path | None = None,
) -> tuple[ParsedCheckpoint, str | None]:
    """Parse the files of a checkpoint and return them with their commit; no model is built.

    During a download, `progress` receives the file name, the bytes received and the total bytes,
    and `cancelled` stops the download. With `allow_pickle`, pytorch_model.bin is opened if there is
    no model.safetensors; only tensors are read from it, and no code is run. Without `paths`, only
    the bundled folders are opened. `preprocessing` is a preset or a processor file, and `classes` a
    file of class names; both override the files of the checkpoint. Raises NotFoundError,
    UnsupportedError or another CheckpointError; each message says what to do next.
    """
    reference = parse(ref, paths)
    if isinstance(reference, Path):
        return read_folder(reference, ref, allow_pickle, preprocessing, classes), None
    snapshot = fetch(
        reference,
        lambda config_json: check_family(config_json, f"'{ref}'"),
        progress,
        cancelled=cancelled,
        allow_pickle=allow_pickle,
        limit=Settings.from_environment().download_bytes,
        # A visitor who may not name local folders must not see the local cache either.
        offline=(lambda: works_offline(allow_pickle)) if paths else bundled,
    )
    stored = read_folder(snapshot.folder, ref, allow_pickle, preprocessing, classes)
    return stored, snapshot.revision


def read_folder(
    path: Path,
    ref: str,
    allow_pickle: bool = False,
    preprocessing: str | None = None,
    classes: Path | None = None,
) -> ParsedCheckpoint:
    """Read a folder, or a tutorial's .pth, without building its model; raises CheckpointError.

    The contents of the files decide the layout; `read` describes the options.
    """
    source = f"'{ref}'"
    try:
        if not path.exists():
            raise NotFoundError(f"There is no {source}; name a folder that holds a checkpoint.")
        stored = _read(path, source, allow_pickle, classes)
        if preprocessing is None:
            return stored
        chosen = chosen_preprocessing(preprocessing, stored.config.image_size, source)
        return replace(stored, preprocessing=chosen, preprocessing_source="option")
    except ConfigError as error:
        reason = str(error).removesuffix(".")
        raise CheckpointError(
            f"{source} has a configuration that cannot be used ({reason}); save it again, or "
            "choose another checkpoint."
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{source} cannot be read ({error.strerror}); name a folder that you may open."
        ) from error


def _read(path: Path, source: str, allow_pickle: bool, classes: Path | None) -> ParsedCheckpoint:
    if not path.is_dir():
        if path.name.endswith(PICKLED):
            return tutorial_format.read(path, source, classes)
        raise UnsupportedError(
            f"{source} is a file; name the folder that holds config.json and model.safetensors, "
            f"or a {tutorial_format.SUFFIX} file."
        )
    if not (path / CONFIG).exists() and (weights := tutorial_format.find(path, source)):
        return tutorial_format.read(weights, source, classes)
    if not (path / CONFIG).exists() and (refusal := missing_weights(path, source)):
        raise refusal
    config_json = read_json(path / CONFIG, source)
    layout = layout_of(config_json, path, source)
    if layout == "bare":
        return tutorial_format.read_folder(path, config_json, source, classes)
    reader = timm_format if layout == "timm" else hf_format
    stored = reader.read(path, source, allow_pickle)
    if classes is None:
        return stored
    return replace(stored, labels=class_names.read(classes, len(stored.labels), source))
