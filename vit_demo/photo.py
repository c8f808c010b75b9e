"""Read a photo as upright RGB, or raise a PhotoError that says why it cannot be read.

Files may be hostile. Only the decoders of `FORMATS` and of HEIC get the content, and none of them
starts another process. Every file leads to a picture or a PhotoError within seconds. `MAX_BYTES`
limits the file size, `photo_headers` checks the headers before a decoder runs, and each format has
a limit on its pixels. While Pillow reads a JPEG, PNG, GIF, BMP or uncompressed TIFF block by block,
the time is checked with every block. The decoders of WebP, AVIF, HEIC and compressed TIFF read a
file in one call that cannot be interrupted, so their limits on pixels and bytes are lower.
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

# Maximum pixels and bytes for decoders that read a file in one call. Measured on random noise at
# the best quality, on one slow core: WebP takes 80 ns and 15 bytes of memory per pixel; AVIF 80 ns
# and HEIC 90 ns per byte of the file, both also 15 ns per pixel; TIFF (LZMA, the slowest) 40 ns per
# pixel.
UNINTERRUPTIBLE = {
    "WEBP": (32_000_000, 32 * MEGABYTE),
    "AVIF": (50_000_000, 32 * MEGABYTE),
    "HEIC": (50_000_000, 32 * MEGABYTE),
    "TIFF": (50_000_000, MAX_BYTES),
}

# Time limit for a decoder that reads block by block, in CPU seconds of this thread, so that valid
# photos can be read on a busy machine too.
DECODE_SECONDS = 3.0
Clock = Callable[[], float]

# The Pillow plugins that may open a file. The JPEG plugin also opens MPO.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")

READABLE = "JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF"

# Pillow decodes a run-length BMP in Python, one whole row at a time.
RLE_DECODER, MAX_RLE_SIDE = "bmp_rle", 65_535

# What the decoders raise on damaged files, found by flipping and cutting bytes of every format:
# RuntimeError comes from AVIF and HEIC, the others come from Pillow's plugins.
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
ROWS_PER_CHUNK = 256


def read_photo(source: PhotoSource, clock: Clock = time.thread_time) -> Image.Image:
    """Read a photo from a path, bytes, an array, or a picture that is already open.

    The result is RGB and upright (the EXIF orientation is applied); transparent pixels become
    white. An array must have shape (height, width, 3) and dtype uint8. `clock` measures the
    decoding time. Raises PhotoError when the file is missing, is not a picture, is damaged, or
    needs more work to decode than a photo does.
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
    """The bytes of a regular file; reading a pipe or a device could block or never end."""
    try:
        # Checked before opening, because opening some devices has side effects, and again after
        # opening, because the file may have been replaced.
        _check_regular(path, path.stat().st_mode)
        with open(path, "rb", opener=_open_nonblocking) as file:
            status = os.fstat(file.fileno())
            _check_regular(path, status.st_mode)
            # One byte more than allowed, to notice a file that is still growing.
            content = b"" if status.st_size > MAX_BYTES else file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise PhotoError(f"There is no photo at '{path}'; check the path.") from error
    except OSError as error:
        raise PhotoError(
            f"'{path}' cannot be read ({error.strerror}); name a picture file that you may open."
        ) from error
    except ValueError as error:
        # A null byte, or characters that cannot be encoded in a file name.
        raise PhotoError(f"{str(path)!r} is not a path ({error}); check the path.") from error
    if max(status.st_size, len(content)) > MAX_BYTES:
        raise PhotoError(_too_many_bytes(f"'{path.name}'", MAX_BYTES))
    return content


def _open_nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise PhotoError(
            f"'{path}' cannot be read (it is {kind}); name a picture file that you may open."
        )


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:  # noqa: PLR2004
        raise PhotoError(
            f"The array has the shape {array.shape} and the dtype {array.dtype}; "
            "pass one with shape (height, width, 3) and dtype uint8."
        )
    _check_size((array.shape[1], array.shape[0]), "The array", MAX_PIXELS)
    return Image.fromarray(array)


class _TimedFile(io.BytesIO):
    """A file in memory that raises PhotoError once the decoder's time is up."""

    def __init__(self, content: bytes, name: str, clock: Clock) -> None:
        super().__init__(content)
        self._name = name
        self._clock = clock
        self._end = clock() + DECODE_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read like any file; PhotoError when the time is up."""
        if self._clock() > self._end:
            raise PhotoError(
                f"{self._name} takes longer than {DECODE_SECONDS:g} seconds to decode; "
                "make it smaller, or save it as a plain JPEG or PNG, and try again."
            )
        return super().read(size)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn errors of a decoder into PhotoErrors; use it only around calls of decoders."""
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
            f"{name} is damaged or incomplete ({error}); export or download it again."
        ) from error


def _decode(content: bytes, name: str, clock: Clock) -> Image.Image:
    if len(content) > MAX_BYTES:
        raise PhotoError(_too_many_bytes(name, MAX_BYTES))
    _refuse(name, excess(content))
    if _is_heic(content):
        return _upright_rgb(_read_heic(content, name), name, in_place=True)
    with _decoding(name):
        picture = Image.open(_TimedFile(content, name, clock), formats=FORMATS)
    _check_opened(picture, len(content), name)
    _refuse(name, exif_excess(_exif(picture, name)))
    with _decoding(name):
        picture.load()
    return _upright_rgb(picture, name, in_place=True)


def _check_opened(picture: Image.Image, size: int, name: str) -> None:
    """Refuse a picture that would take too long in a decoder that cannot be interrupted in time."""
    decoders = {tile[0] for tile in getattr(picture, "tile", ())}
    max_pixels, max_bytes = UNINTERRUPTIBLE.get(picture.format or "", (MAX_PIXELS, MAX_BYTES))
    _check_size(picture.size, name, max_pixels)
    if size > max_bytes:
        raise PhotoError(_too_many_bytes(name, max_bytes))
    if RLE_DECODER in decoders and max(picture.size) > MAX_RLE_SIDE:
        raise PhotoError(_too_large(name, MAX_PIXELS))


def _exif(picture: Image.Image, name: str) -> bytes:
    """The EXIF data that Pillow will read, from the EXIF block or from a PNG text chunk."""
    exif = picture.info.get("exif", b"")
    as_text = picture.info.get("Raw profile type exif")
    if exif or not as_text:
        return exif
    with _decoding(name):
        # Hexadecimal after three header lines, as ImageMagick writes it into a PNG.
        return bytes.fromhex("".join(as_text.split("\n")[3:]))


def upright_rgb(picture: Image.Image, name: str) -> Image.Image:
    """Apply the EXIF orientation and convert any Pillow mode to 8-bit RGB."""
    return _upright_rgb(picture, name, in_place=False)


def _upright_rgb(picture: Image.Image, name: str, in_place: bool) -> Image.Image:
    """Like `upright_rgb`; `in_place` may change `picture`, which saves a copy in memory."""
    _check_size(picture.size, name, MAX_PIXELS)
    with _decoding(name):
        upright = ImageOps.exif_transpose(picture, in_place=in_place) or picture
        if upright.mode != "RGBA" and upright.has_transparency_data and _is_8_bit(upright):
            # Inside _decoding: the file's palette or transparent color may be damaged too.
            upright = upright.convert("RGBA")
    return _rgb(upright)


def _is_8_bit(picture: Image.Image) -> bool:
    return not (picture.mode.startswith("I") or picture.mode == "F")


def _rgb(picture: Image.Image) -> Image.Image:
    if not _is_8_bit(picture):
        picture = _to_8_bit(picture)
    if picture.mode == "RGBA":
        return _on_white(picture)
    return picture.convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    """Put a transparent picture on white, as a browser does; opaque pixels keep their colors."""
    background = Image.new("RGB", picture.size, WHITE)
    background.paste(picture, mask=picture)
    return background


def _to_8_bit(picture: Image.Image) -> Image.Image:
    """Scale 16-bit or float pixels to 8 bits; Pillow would clip them to white.

    16-bit values are scaled from their full range, floats from the range of the picture. Works on
    a few rows at a time, because the intermediate values take eight bytes each.
    """
    bands = [
        (0, top, picture.width, min(top + ROWS_PER_CHUNK, picture.height))
        for top in range(0, picture.height, ROWS_PER_CHUNK)
    ]
    low, high = 0.0, 65535.0
    if picture.mode == "F":
        ranges = [_finite_range(np.asarray(picture.crop(band))) for band in bands]
        finite = [found for found in ranges if found is not None]
        low = min((lowest for lowest, _ in finite), default=0.0)
        high = max((highest for _, highest in finite), default=0.0)
    scaled = Image.new("L", picture.size)
    for band in bands:
        values = np.asarray(picture.crop(band), dtype=np.float64)
        gray = (values.clip(low, high) - low) / max(high - low, 1e-12) * 255
        scaled.paste(Image.fromarray(np.nan_to_num(gray).round().astype(np.uint8)), band)
    return scaled


def _finite_range(values: np.ndarray) -> tuple[float, float] | None:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else None


def _is_heic(content: bytes) -> bool:
    return content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS


def _read_heic(content: bytes, name: str) -> Image.Image:
    # Imported on demand: most photos are JPEG and do not need the HEIF decoder.
    import pi_heif

    with _decoding(name):
        heif = pi_heif.open_heif(io.BytesIO(content))
        size = heif.size
    max_pixels, max_bytes = UNINTERRUPTIBLE["HEIC"]
    _check_size(size, name, min(max_pixels, MAX_PIXELS))
    if len(content) > max_bytes:
        raise PhotoError(_too_many_bytes(name, max_bytes))
    with _decoding(name):
        # Without the EXIF data: the decoder has already applied the orientation.
        data = heif.data or b""
        return Image.frombytes(heif.mode, heif.size, data, "raw", heif.mode, heif.stride)


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    if min(size) < 1:
        raise PhotoError(f"{name} has no pixels ({size[0]} × {size[1]}); give another one.")
    if size[0] * size[1] > max_pixels:
        raise PhotoError(_too_large(name, max_pixels))


def _refuse(name: str, reason: str | None) -> None:
    if reason:
        raise PhotoError(f"{name} {reason}; save it as a plain JPEG or PNG and try again.")


def _too_large(name: str, max_pixels: int) -> str:
    return (
        f"{name} has more than {max_pixels // 1_000_000} million pixels; "
        "make it smaller first (the model reads it at a few hundred pixels a side)."
    )


def _too_many_bytes(name: str, max_bytes: int) -> str:
    return (
        f"{name} has more than {max_bytes // MEGABYTE} MB; "
        "make it smaller first (the model reads it at a few hundred pixels a side)."
    )
