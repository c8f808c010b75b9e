"""Open a photo as a person would see it: upright, in RGB, whole, or refused with a reason."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vit_demo.errors import PhotoError

PhotoSource = str | Path | bytes | Image.Image

# Above any phone's camera (48 MP), below Pillow's own decompression-bomb limit of 89 MP.
MAX_PIXELS = 80_000_000

READABLE = "JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF"

# What the decoders raise on damaged files, as seen across formats with bytes flipped and cut off:
# RuntimeError is AVIF's and HEIC's, IndexError HEIC's and QOI's.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,
    IndexError,
    struct.error,
    zlib.error,
)

HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def read_photo(source: PhotoSource) -> Image.Image:
    """Read a photo from a path, from bytes, or take a picture that is already open.

    The result is RGB and upright (its EXIF orientation is applied). Raises PhotoError when the
    file is missing, is no picture, is damaged, or has more than `MAX_PIXELS` pixels.
    """
    if isinstance(source, Image.Image):
        return upright_rgb(source, "The picture")
    if isinstance(source, bytes):
        return _decode(source, "The picture")
    path = Path(source)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise PhotoError(f"There is no photo at '{path}'; check the path.") from error
    except OSError as error:
        raise PhotoError(
            f"'{path}' cannot be read ({error.strerror}); name a picture file that you may open."
        ) from error
    return _decode(content, f"'{path.name}'")


def _decode(content: bytes, name: str) -> Image.Image:
    try:
        if _is_heic(content):
            picture = _open_heic(content, name)
        else:
            picture = Image.open(io.BytesIO(content))
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name} is not a picture that can be read here; give a {READABLE} file."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(_too_large(name)) from error
    except DAMAGE as error:
        raise PhotoError(f"{name} is damaged ({error}); export or download it again.") from error
    return upright_rgb(picture, name)


def upright_rgb(picture: Image.Image, name: str) -> Image.Image:
    """Apply the EXIF orientation and bring any Pillow mode to 8-bit RGB."""
    if picture.width * picture.height > MAX_PIXELS:
        raise PhotoError(_too_large(name))
    try:
        return _rgb(ImageOps.exif_transpose(picture))
    except DAMAGE as error:
        raise PhotoError(
            f"{name} is damaged or was only half copied ({error}); export or download it again."
        ) from error


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        # Pillow would clip these to white: spread their own range over 8 bits instead.
        values = np.asarray(picture, dtype=np.float64)
        low, high = (0.0, 65535.0) if picture.mode.startswith("I") else _finite_range(values)
        spread = (values.clip(low, high) - low) / max(high - low, 1e-12) * 255
        picture = Image.fromarray(np.nan_to_num(spread).round().astype(np.uint8))
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _finite_range(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _is_heic(content: bytes) -> bool:
    return content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS


def _open_heic(content: bytes, name: str) -> Image.Image:
    # Imported here: most photos are JPEG and need no HEIF decoder in memory.
    import pi_heif

    stored = pi_heif.open_heif(io.BytesIO(content))
    if stored.size[0] * stored.size[1] > MAX_PIXELS:
        raise PhotoError(_too_large(name))
    return stored.to_pillow()


def _too_large(name: str) -> str:
    return (
        f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels; "
        "make it smaller first (the model reads it at a few hundred pixels a side)."
    )
