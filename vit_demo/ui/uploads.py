"""The visitors' photos: which file references this page issued, and to which session.

A request refers to its photo by a path. The path is only looked up in the table of paths that this
app issued, and never resolved, so no other file of the host can be reached through it.
"""

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from vit_demo.errors import PhotoError

NOT_YOURS = "This photo is not on this page any more; upload it again or click an example."

# Maximum length of the suffix that is kept of a file name: the browser derives the type from it.
LONGEST_SUFFIX = 5
TOKEN_BYTES = 16


@dataclass(frozen=True)
class IssuedFile:
    """A file that a request may refer to.

    `source` is the file that the model reads: the upload itself, or the original of a preview.
    `session` is the only session that may use it; None for examples, and before the first use.
    """

    source: Path
    session: str | None = None
    shared: bool = False


class Uploads:
    """The files that this app has issued references to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._issued: dict[str, IssuedFile] = {}
        self._lock = Lock()

    def add_example(self, reference: str, source: Path) -> None:
        """Allow every visitor to use this example by its reference on the page."""
        with self._lock:
            self._issued[reference] = IssuedFile(source, shared=True)

    @contextmanager
    def arriving(self) -> Iterator[Path]:
        """A temporary folder for the files of one upload; deletes files that are not adopted."""
        folder = self._folder / f"arriving-{secrets.token_hex(TOKEN_BYTES)}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def adopt(self, uploaded: Sequence[Path]) -> list[str]:
        """Move uploads to unguessable paths; returns these as references.

        Each belongs to the first session that uses it. Only a short suffix of the visitor's file
        name is kept.
        """
        self._forget_deleted()
        references = []
        for file in uploaded:
            suffix = file.suffix.lower()
            plain = suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) <= LONGEST_SUFFIX
            path = self._new_path(f"photo{suffix if plain else ''}")
            file.replace(path)
            with self._lock:
                self._issued[str(path)] = IssuedFile(path)
            references.append(str(path))
        return references

    def add_preview(self, content: bytes, name: str, source: Path, session: str) -> str:
        """Store a picture that the browser can show; its reference opens the original `source`.

        A photo has only one preview; later calls return the same reference.
        """
        with self._lock:
            for reference, file in self._issued.items():
                if file == IssuedFile(source, session) and reference != str(source):
                    return reference
        path = self._new_path(name)
        path.write_bytes(content)
        with self._lock:
            self._issued[str(path)] = IssuedFile(source, session)
        return str(path)

    def open_for(self, session: str, reference: object) -> Path:
        """The file of a reference from a browser.

        Raises PhotoError for any reference that was not issued to this session; the message is the
        same for all reasons.
        """
        match reference:
            case {"path": str(path)}:
                pass
            case _:
                raise PhotoError(NOT_YOURS)
        with self._lock:
            issued = self._issued.get(path)
            if issued is not None and issued.session is None and not issued.shared:
                issued = self._issued[path] = replace(issued, session=session)
        if (
            issued is None
            or (not issued.shared and issued.session != session)
            or not issued.source.is_file()
        ):
            raise PhotoError(NOT_YOURS)
        return issued.source

    def serves(self, path: str) -> bool:
        """Whether a path is inside this folder, so that the page may serve it."""
        inside = Path(path)
        hidden = ".." in inside.parts or inside.parent == self._folder
        return inside.is_relative_to(self._folder) and not hidden

    @property
    def issued(self) -> Mapping[str, IssuedFile]:
        """All valid references."""
        with self._lock:
            return dict(self._issued)

    def _new_path(self, name: str) -> Path:
        folder = self._folder / secrets.token_hex(TOKEN_BYTES)
        folder.mkdir()
        return folder / name

    def _forget_deleted(self) -> None:
        """Gradio deletes files after an hour; delete their references too."""
        with self._lock:
            gone = [path for path, file in self._issued.items() if not file.source.is_file()]
            for path in gone:
                del self._issued[path]
        for path in gone:
            folder = Path(path).parent
            if folder.parent == self._folder and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
