"""A separate upload folder for each running app, deleted when the app ends.

An app that is killed cannot delete its folder, so the next start does. The app holds a file lock in
its folder while it runs, which works even if its process id is reused.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vit_demo.errors import OutputError

PREFIX = "vit_demo-run-"
LOCK = "lock"


@contextmanager
def upload_folder(parent: Path | None = None) -> Iterator[Path]:
    """Create the folder under `parent` (default: the system's), and delete it at the end.

    Folders of apps that have ended are deleted first. Raises OutputError if none can be created.
    """
    parent = parent or Path(tempfile.gettempdir())
    try:
        parent.mkdir(parents=True, exist_ok=True)
        delete_abandoned(parent)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    except OSError as error:
        raise OutputError(
            f"No folder for uploads can be made in '{parent}' ({error.strerror}); "
            "set GRADIO_TEMP_DIR to a folder that you may write to."
        ) from error
    lock = FileLock(folder / LOCK)
    try:
        with lock:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def delete_abandoned(parent: Path) -> list[Path]:
    """Delete the folders of apps that have ended; those of running apps stay."""
    deleted = []
    for folder in parent.glob(f"{PREFIX}*"):
        # A folder without a lock file may belong to an app that is just starting.
        if folder.is_symlink() or not (folder / LOCK).is_file():
            continue
        try:
            with FileLock(folder / LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            continue  # a running app holds it, or it belongs to another user
        deleted.append(folder)
    return deleted
