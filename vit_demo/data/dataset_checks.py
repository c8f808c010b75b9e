"""Every photo looked at once: what cannot be read, and what stands on both sides of a split."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vit_demo.data.dataset import Split, read_split
from vit_demo.errors import PhotoError
from vit_demo.photo import read_photo

# Rows and columns of the small picture whose light and dark edges tell photos apart.
FINGERPRINT = 8
# Two photos that differ in no more of its bits are taken for one.
ALIKE = 3


@dataclass(frozen=True)
class Checked:
    """What looking at every photo has shown.

    `unreadable` are (file, why); they were left out before the split. `duplicates` are (held out,
    training) pairs that look alike: such a photo is scored on what was learnt by heart.
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
    """Open every photo once, split those that can be read, find what stands on both sides.

    Where all can be read, the split is that of `read_split`, which takes the same arguments and
    raises DataError for the same reasons: here also when too few photos of a class can be read.
    """
    # What no photo could mend is refused before any is opened.
    photos = read_split(data, held_out, seed, leave_out, fold)
    everything = [path for path, _ in (*photos.training, *photos.held_out)]
    with ThreadPoolExecutor(threads) as pool:
        seen = dict(zip(everything, pool.map(_fingerprint_or_reason, everything), strict=True))
    unreadable = {
        path: prepare for path, prepare in sorted(seen.items()) if isinstance(prepare, str)
    }
    if unreadable:
        photos = read_split(data, held_out, seed, leave_out, fold, unreadable)
    prints = {path: prepare for path, prepare in seen.items() if not isinstance(prepare, str)}
    return Checked(photos, tuple(unreadable.items()), tuple(_duplicates(photos, prints)))


def _duplicates(photos: Split, prints: Mapping[Path, int]) -> Iterator[tuple[Path, Path]]:
    known = np.array([prints[path] for path, _ in photos.training], dtype=np.uint64)
    for path, _ in photos.held_out:
        differing = np.bitwise_count(known ^ np.uint64(prints[path]))
        if differing.min() <= ALIKE:
            yield path, photos.training[int(differing.argmin())][0]


def _fingerprint_or_reason(path: Path) -> int | str:
    """A photo's fingerprint, or why it cannot be read."""
    try:
        return fingerprint(read_photo(path))
    except PhotoError as error:
        return str(error)


def fingerprint(photo: Image.Image) -> int:
    """Where a small grey copy grows lighter from left to right, one bit for each place.

    Copies of one photo differ in a few bits at the most, also after scaling and saving again.
    """
    grey = photo.convert("L").resize((FINGERPRINT + 1, FINGERPRINT), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.int16)
    return int.from_bytes(np.packbits(values[:, 1:] > values[:, :-1]).tobytes(), "big")
