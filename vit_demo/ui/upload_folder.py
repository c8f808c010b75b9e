"""A folder of its own for the visitors' files of one running app, deleted when the app ends.

An app that ends abruptly cannot delete its folder, so the next start does: the lock file in a
folder is held for as long as its app lives, whatever became of its process id.
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
    """Make the folder under `parent` (the system's temporary folder), and delete it at the end.

    Folders of apps that are gone are deleted first. Raises OutputError where none can be made.
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
    """Delete the folders whose app is gone; those of running apps are left alone."""
    deleted = []
    for folder in parent.glob(f"{PREFIX}*"):
        # Without a lock file it may be the folder of an app that is starting right now.
        if folder.is_symlink() or not (folder / LOCK).is_file():
            continue
        try:
            with FileLock(folder / LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            continue  # a running app holds it, or it belongs to another user
        deleted.append(folder)
    return deleted
