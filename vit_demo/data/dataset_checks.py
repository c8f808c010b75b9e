"""Check all photos before training: unreadable files, and duplicates across the split."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vit_demo.data.dataset import Split, read_split
from vit_demo.errors import PhotoError
from vit_demo.photo import read_photo

# Rows and columns of the difference hash.
FINGERPRINT = 8
# Two photos whose hashes differ in at most this many bits are treated as duplicates.
MAX_DIFFERING_BITS = 3


@dataclass(frozen=True)
class Checked:
    """The split and the problems found in it.

    `unreadable` are pairs (file, reason); they were skipped before the split. `duplicates` are
    near-identical pairs (held out, training), which make the held-out accuracy too good.
    """

    split: Split
    unreadable: tuple[tuple[Path, str], ...]
    duplicates: tuple[tuple[Path, Path], ...]


def check(
    data: Path,
    held_out: float,
    seed: int,
    leave_out: str | None = None,
    fold: int = 1,
    threads: int = 2,
) -> Checked:
    """Open every photo once, split the readable ones, and find duplicates across the split.

    If all photos are readable, the split is that of `read_split`, which has the same arguments and
    errors. Raises DataError also if too few photos of a class are readable.
    """
    # Errors that do not depend on the content of the photos are raised before opening any.
    photos = read_split(data, held_out, seed, leave_out, fold)
    paths = [path for path, _ in (*photos.training, *photos.held_out)]
    with ThreadPoolExecutor(threads) as pool:
        results = dict(zip(paths, pool.map(_fingerprint_or_reason, paths), strict=True))
    unreadable = {path: it for path, it in sorted(results.items()) if isinstance(it, str)}
    if unreadable:
        photos = read_split(data, held_out, seed, leave_out, fold, unreadable)
    hashes = {path: it for path, it in results.items() if not isinstance(it, str)}
    return Checked(photos, tuple(unreadable.items()), tuple(_duplicates(photos, hashes)))


def _duplicates(photos: Split, hashes: Mapping[Path, int]) -> Iterator[tuple[Path, Path]]:
    training = np.array([hashes[path] for path, _ in photos.training], dtype=np.uint64)
    for path, _ in photos.held_out:
        differing = np.bitwise_count(training ^ np.uint64(hashes[path]))
        if differing.min() <= MAX_DIFFERING_BITS:
            yield path, photos.training[int(differing.argmin())][0]


def _fingerprint_or_reason(path: Path) -> int | str:
    """A photo's fingerprint, or why it cannot be read."""
    try:
        return fingerprint(read_photo(path))
    except PhotoError as error:
        return str(error)


def fingerprint(photo: Image.Image) -> int:
    """The difference hash: one bit for each pair of neighbors in a small grayscale copy.

    Copies of one photo differ in only a few bits, even after scaling and recompression.
    """
    gray = photo.convert("L").resize((FINGERPRINT + 1, FINGERPRINT), Image.Resampling.BOX)
    values = np.asarray(gray, dtype=np.int16)
    return int.from_bytes(np.packbits(values[:, 1:] > values[:, :-1]).tobytes(), "big")
