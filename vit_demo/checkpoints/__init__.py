"""Reference → files → layout → our model, its labels and its preprocessing."""

from pathlib import Path
from threading import Event

from vit_demo.checkpoints import transformers
from vit_demo.checkpoints.cache import CheckpointCache, Progress
from vit_demo.checkpoints.checkpoint import Checkpoint, build
from vit_demo.checkpoints.hub import fetch
from vit_demo.checkpoints.reference import DEFAULT, bundled, parse
from vit_demo.checkpoints.stored import Stored
from vit_demo.errors import UnsupportedError
from vit_demo.settings import Settings

__all__ = ["DEFAULT", "Checkpoint", "CheckpointCache", "Stored", "bundled", "load", "read_folder"]


def load(
    ref: str = DEFAULT, progress: Progress | None = None, cancelled: Event | None = None
) -> Checkpoint:
    """Load a checkpoint: a bundled name, an existing folder, or a Hub id `owner/name[@revision]`.

    While files come from the Hub, `progress` is told the file, the bytes that are here and the
    bytes in all, and `cancelled` stops it. Raises NotFoundError, UnsupportedError, MisfitError or
    another CheckpointError, each saying what to do next.
    """
    reference = parse(ref)
    if isinstance(reference, Path):
        return build(read_folder(reference, ref), ref)
    snapshot = fetch(
        reference,
        lambda config: transformers.check_family(config, f"'{ref}'"),
        progress,
        cancelled=cancelled,
        limit=Settings.from_environment().download_bytes,
    )
    return build(read_folder(snapshot.folder, ref), ref, snapshot.revision)


def read_folder(path: Path, ref: str) -> Stored:
    """Read a checkpoint's files without building its model; raises CheckpointError."""
    if not path.is_dir():
        raise UnsupportedError(
            f"'{ref}' is a file; name the folder that holds config.json and model.safetensors."
        )
    return transformers.read(path, f"'{ref}'")
