"""Open a photo as a person would see it: upright, in RGB, whole, or refused with a reason.

A file may be hostile. Only the decoders of `FORMATS` and of HEIC ever see it, none of which starts
another process, and every file ends within seconds in a picture or in a PhotoError. What bounds
the work: bytes are bounded by `MAX_BYTES`; headers are counted through before a decoder runs
(`photo_headers`); pixels are bounded for each format; and while Pillow reads a JPEG, PNG, GIF, BMP
or uncompressed TIFF block by block, a clock is read along with every block. The decoders of WebP,
AVIF, HEIC and compressed TIFF take a file in one call that nothing can stop, so that their pixels
and bytes are bounded more tightly.
"""

import io
import os
import stat
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vit_demo.errors import PhotoError
from vit_demo.photo_headers import excess, exif_excess
from vit_demo.settings import MEGABYTE

PhotoSource = str | Path | bytes | Image.Image | np.ndarray

# Above any phone's camera (48 MP), below Pillow's own decompression-bomb limit of 89 MP.
MAX_PIXELS = 80_000_000

# An uncompressed TIFF of some 30 million pixels; the page takes no more than 20 MB.
MAX_BYTES = 100 * MEGABYTE

# Where a decoder takes the file in one call: at the most this many pixels and bytes. Measured on
# noise in its best quality, on one slow core: WebP 80 ns a pixel and 15 bytes of memory, AVIF 80 ns
# and HEIC 90 ns a byte of the file and 15 ns a pixel, TIFF (LZMA, the slowest) 40 ns a pixel.
WITHOUT_STOP = {
    "WEBP": (32_000_000, 32 * MEGABYTE),
    "AVIF": (50_000_000, 32 * MEGABYTE),
    "HEIC": (50_000_000, 32 * MEGABYTE),
    "TIFF": (50_000_000, MAX_BYTES),
}

# Seconds of work for a decoder that reads block by block. It is this thread's own time, so that a
# good photo is read on a busy machine too.
DECODE_SECONDS = 3.0
Clock = Callable[[], float]

# The plugins of Pillow that may see a file. The one for JPEG opens MPO as well.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")

READABLE = "JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF"

# Pillow decodes a run-length BMP in Python, and fills up a row in one go.
RLE_DECODER, MAX_RLE_SIDE = "bmp_rle", 65_535

# What the decoders raise on damaged files, as seen across formats with bytes flipped and cut off:
# RuntimeError is AVIF's and HEIC's, the rest comes out of Pillow's plugins.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    struct.error,
    zlib.error,
)

HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}

WHITE = (255, 255, 255)
ROWS_AT_ONCE = 256


def read_photo(source: PhotoSource, clock: Clock = time.thread_time) -> Image.Image:
    """Read a photo from a path, from bytes or an array, or take a picture that is already open.

    The result is RGB and upright (its EXIF orientation is applied); what is transparent shows
    white. An array has to be of shape (height, width, 3) and of type uint8. Raises PhotoError when
    the file is missing, is no picture, is damaged, or asks for more work than a photo does; the
    decoder's work is timed by `clock`.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return upright_rgb(source, "The picture")
    if isinstance(source, bytes):
        return _decode(source, "The picture", clock)
    path = Path(source)
    return _decode(_content(path), f"'{path.name}'", clock)


def _content(path: Path) -> bytes:
    """The bytes of a regular file; whatever else has a path may block, or never end."""
    try:
        # Looked at before it is opened, for to open some devices does something already, and again
        # once it is open, for it may be another file by then.
        _check_regular(path, path.stat().st_mode)
        with open(path, "rb", opener=_open_without_waiting) as file:
            found = os.fstat(file.fileno())
            _check_regular(path, found.st_mode)
            # One byte more than is allowed: the file may grow.
            content = b"" if found.st_size > MAX_BYTES else file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise PhotoError(f"There is no photo at '{path}'; check the path.") from error
    except OSError as error:
        raise PhotoError(
            f"'{path}' cannot be read ({error.strerror}); name a picture file that you may open."
        ) from error
    except ValueError as error:
        # A zero byte, or letters that no file name has here.
        raise PhotoError(f"{str(path)!r} is no path ({error}); check the path.") from error
    if max(found.st_size, len(content)) > MAX_BYTES:
        raise PhotoError(_too_many_bytes(f"'{path.name}'", MAX_BYTES))
    return content


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise PhotoError(
            f"'{path}' cannot be read (it is {kind}); name a picture file that you may open."
        )


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:  # noqa: PLR2004
        raise PhotoError(
            f"The array has the shape {array.shape} and the type {array.dtype}; "
            "give one of the shape (height, width, 3) and the type uint8."
        )
    _check_size((array.shape[1], array.shape[0]), "The array", MAX_PIXELS)
    return Image.fromarray(array)


class _TimedFile(io.BytesIO):
    """Bytes in memory that refuse to be read on once the decoder has had its time."""

    def __init__(self, content: bytes, name: str, clock: Clock) -> None:
        super().__init__(content)
        self._name = name
        self._clock = clock
        self._end = clock() + DECODE_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file; PhotoError when the time is over."""
        if self._clock() > self._end:
            raise PhotoError(
                f"{self._name} takes longer than {DECODE_SECONDS:g} seconds to decode; "
                "make it smaller, or save it as a plain JPEG or PNG, and try again."
            )
        return super().read(size)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Say in a sentence what is wrong with a file; holds calls of decoders, and none of ours."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name} is not a picture that can be read here; give a {READABLE} file."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise PhotoError(_too_large(name, MAX_PIXELS)) from error
    except DECODER_ERRORS as error:
        raise PhotoError(
            f"{name} is damaged or was only half copied ({error}); export or download it again."
        ) from error


def _decode(content: bytes, name: str, clock: Clock) -> Image.Image:
    if len(content) > MAX_BYTES:
        raise PhotoError(_too_many_bytes(name, MAX_BYTES))
    _refuse(name, excess(content))
    if _is_heic(content):
        return _upright_rgb(_read_heic(content, name), name, ours=True)
    with _decoding(name):
        picture = Image.open(_TimedFile(content, name, clock), formats=FORMATS)
    _check_opened(picture, len(content), name)
    _refuse(name, exif_excess(_exif(picture, name)))
    with _decoding(name):
        picture.load()
    return _upright_rgb(picture, name, ours=True)


def _check_opened(picture: Image.Image, size: int, name: str) -> None:
    """Refuse what a decoder could not be stopped in, or only too late."""
    decoders = {tile[0] for tile in getattr(picture, "tile", ())}
    pixels, most_bytes = WITHOUT_STOP.get(picture.format or "", (MAX_PIXELS, MAX_BYTES))
    _check_size(picture.size, name, pixels)
    if size > most_bytes:
        raise PhotoError(_too_many_bytes(name, most_bytes))
    if RLE_DECODER in decoders and max(picture.size) > MAX_RLE_SIDE:
        raise PhotoError(_too_large(name, MAX_PIXELS))


def _exif(picture: Image.Image, name: str) -> bytes:
    """The EXIF data that Pillow is going to read, wherever the file has it."""
    exif = picture.info.get("exif", b"")
    written = picture.info.get("Raw profile type exif")
    if exif or not written:
        return exif
    with _decoding(name):
        # Hexadecimal after three lines, as ImageMagick writes it into a PNG.
        return bytes.fromhex("".join(written.split("\n")[3:]))


def upright_rgb(picture: Image.Image, name: str) -> Image.Image:
    """Apply the EXIF orientation and bring any Pillow mode to 8-bit RGB."""
    return _upright_rgb(picture, name, ours=False)


def _upright_rgb(picture: Image.Image, name: str, ours: bool) -> Image.Image:
    """As `upright_rgb`; a picture of `ours` may be changed, which saves a copy in memory."""
    _check_size(picture.size, name, MAX_PIXELS)
    with _decoding(name):
        upright = ImageOps.exif_transpose(picture, in_place=ours) or picture
        if upright.mode != "RGBA" and upright.has_transparency_data and _is_8_bit(upright):
            # Reads the file's palette and its transparent colour, which may be damaged too.
            upright = upright.convert("RGBA")
    return _rgb(upright)


def _is_8_bit(picture: Image.Image) -> bool:
    return not (picture.mode.startswith("I") or picture.mode == "F")


def _rgb(picture: Image.Image) -> Image.Image:
    if not _is_8_bit(picture):
        picture = _spread(picture)
    if picture.mode == "RGBA":
        return _on_white(picture)
    return picture.convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    """What a browser shows of a transparent picture; opaque pixels keep their colours exactly."""
    page = Image.new("RGB", picture.size, WHITE)
    page.paste(picture, mask=picture)
    return page


def _spread(picture: Image.Image) -> Image.Image:
    """Bring whole or real numbers to 8 bits; Pillow would clip them to white.

    16 bits keep their range, real numbers are spread over their own. A few rows at a time, because
    the numbers in between take eight bytes each.
    """
    bands = [
        (0, top, picture.width, min(top + ROWS_AT_ONCE, picture.height))
        for top in range(0, picture.height, ROWS_AT_ONCE)
    ]
    low, high = 0.0, 65535.0
    if picture.mode == "F":
        ranges = [_finite_range(np.asarray(picture.crop(band))) for band in bands]
        known = [found for found in ranges if found is not None]
        low = min((lowest for lowest, _ in known), default=0.0)
        high = max((highest for _, highest in known), default=0.0)
    spread = Image.new("L", picture.size)
    for band in bands:
        values = np.asarray(picture.crop(band), dtype=np.float64)
        grey = (values.clip(low, high) - low) / max(high - low, 1e-12) * 255
        spread.paste(Image.fromarray(np.nan_to_num(grey).round().astype(np.uint8)), band)
    return spread


def _finite_range(values: np.ndarray) -> tuple[float, float] | None:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else None


def _is_heic(content: bytes) -> bool:
    return content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS


def _read_heic(content: bytes, name: str) -> Image.Image:
    # Imported here: most photos are JPEG and need no HEIF decoder in memory.
    import pi_heif

    with _decoding(name):
        stored = pi_heif.open_heif(io.BytesIO(content))
        size = stored.size
    most_pixels, most_bytes = WITHOUT_STOP["HEIC"]
    _check_size(size, name, min(most_pixels, MAX_PIXELS))
    if len(content) > most_bytes:
        raise PhotoError(_too_many_bytes(name, most_bytes))
    with _decoding(name):
        # Without its EXIF data: the decoder has turned the picture upright already.
        data = stored.data or b""
        return Image.frombytes(stored.mode, stored.size, data, "raw", stored.mode, stored.stride)


def _check_size(size: tuple[int, int], name: str, most_pixels: int) -> None:
    if min(size) < 1:
        raise PhotoError(f"{name} has no pixels ({size[0]} × {size[1]}); give another one.")
    if size[0] * size[1] > most_pixels:
        raise PhotoError(_too_large(name, most_pixels))


def _refuse(name: str, reason: str | None) -> None:
    if reason:
        raise PhotoError(f"{name} {reason}; save it as a plain JPEG or PNG and try again.")


def _too_large(name: str, most_pixels: int) -> str:
    return (
        f"{name} has more than {most_pixels // 1_000_000} million pixels; "
        "make it smaller first (the model reads it at a few hundred pixels a side)."
    )


def _too_many_bytes(name: str, most_bytes: int) -> str:
    return (
        f"{name} has more than {most_bytes // MEGABYTE} MB; "
        "make it smaller first (the model reads it at a few hundred pixels a side)."
    )
