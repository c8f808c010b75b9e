"""Reference → files → layout → our model, its labels and its preprocessing."""

from pathlib import Path

from vit_demo.checkpoints import transformers
from vit_demo.checkpoints.cache import CheckpointCache
from vit_demo.checkpoints.checkpoint import Checkpoint, build
from vit_demo.checkpoints.reference import DEFAULT, Local, bundled, parse
from vit_demo.checkpoints.stored import Stored
from vit_demo.errors import UnsupportedError

__all__ = ["DEFAULT", "Checkpoint", "CheckpointCache", "Stored", "bundled", "load", "read_folder"]


def load(ref: str = DEFAULT) -> Checkpoint:
    """Load a checkpoint: a bundled name, an existing folder, or a Hub id `owner/name[@revision]`.

    Raises NotFoundError, UnsupportedError, MisfitError or another CheckpointError, each saying
    what to do next.
    """
    reference = parse(ref)
    if isinstance(reference, Local):
        return build(read_folder(reference.path, ref), ref)
    raise UnsupportedError(ref)


def read_folder(path: Path, ref: str) -> Stored:
    """Read a checkpoint's files without building its model; raises CheckpointError."""
    if not path.is_dir():
        raise UnsupportedError(
            f"'{ref}' is a file; name the folder that holds config.json and model.safetensors."
        )
    return transformers.read(path, f"'{ref}'")
