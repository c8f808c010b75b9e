"""Supported pictures are read as upright RGB; everything else is refused with a clear message."""

import io
import os
import resource
import struct
import time
from itertools import count

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageFile, TiffImagePlugin

from vit_demo import photo as photo_module
from vit_demo.errors import PhotoError
from vit_demo.photo import DECODE_SECONDS, FORMATS, MAX_PIXELS, read_photo

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112

# How a camera stores an upright picture under each of the eight EXIF orientations.
STORED_BY = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def corners(picture: Image.Image) -> list[tuple[int, ...]]:
    """The colours just inside the four corners: top left, top right, bottom left, bottom right."""
    right, bottom = picture.width - 3, picture.height - 3
    return [picture.getpixel(at) for at in ((2, 2), (right, 2), (2, bottom), (right, bottom))]


@pytest.fixture
def quarters():
    """Upright: red and green above, blue and white below; wider than high."""
    picture = Image.new("RGB", (48, 32))
    for number, colour in enumerate((RED, GREEN, BLUE, WHITE)):
        picture.paste(colour, (24 * (number % 2), 16 * (number // 2), 48, 32))
    return picture


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def assert_close(found: Image.Image, wanted: Image.Image, tolerance: int) -> None:
    assert (found.mode, found.size) == ("RGB", wanted.size)
    gap = np.abs(np.asarray(found, dtype=int) - np.asarray(wanted, dtype=int))
    assert gap.max() <= tolerance


@pytest.mark.parametrize("orientation", STORED_BY)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_every_exif_orientation_comes_out_upright(quarters, orientation, kind):
    stored_by = STORED_BY[orientation]
    stored = quarters if stored_by is None else quarters.transpose(stored_by)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    found = read_photo(encoded(stored, kind, exif=exif))
    assert found.size == quarters.size
    for colour, wanted in zip(corners(found), (RED, GREEN, BLUE, WHITE), strict=True):
        assert np.abs(np.subtract(colour, wanted)).max() < 12
    # A second reader must not rotate the result again.
    assert found.getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_lossless_formats_are_read_exactly(quarters, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert_close(read_photo(encoded(quarters, kind, **options)), quarters, tolerance=0)


@pytest.mark.parametrize(("kind", "tolerance"), [("JPEG", 8), ("AVIF", 30)])
def test_lossy_formats_are_read_approximately(noise_photo, kind, tolerance):
    picture = noise_photo(40, 24).resize((160, 96), Image.Resampling.BICUBIC)
    found = read_photo(encoded(picture, kind, quality=95))
    gap = np.abs(np.asarray(found, dtype=int) - np.asarray(picture, dtype=int))
    assert gap.mean() < 3
    assert np.percentile(gap, 99) <= tolerance


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_heic_photo_is_read_and_rotated_once(quarters, orientation):
    """HEIC is detected by its content. The app has only a decoder; the test has the encoder."""
    import pillow_heif

    stored = quarters if orientation == 1 else quarters.transpose(STORED_BY[orientation])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stream = io.BytesIO()
    pillow_heif.from_pillow(stored).save(stream, quality=95, exif=exif.tobytes())
    found = read_photo(stream.getvalue())
    assert found.size == quarters.size
    for colour, wanted in zip(corners(found), (RED, GREEN, BLUE, WHITE), strict=True):
        assert np.abs(np.subtract(colour, wanted)).max() < 25


def heic(picture: Image.Image) -> bytes:
    import pillow_heif

    stream = io.BytesIO()
    pillow_heif.from_pillow(picture).save(stream, quality=50)
    return stream.getvalue()


MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"]
DEEP_MODES = ["I", "F", "I;16", "I;16L", "I;16B", "I;16N"]


@pytest.mark.parametrize("mode", MODES + DEEP_MODES)
def test_any_pillow_mode_becomes_rgb_of_the_same_size(mode):
    found = read_photo(Image.new(mode, (5, 3)))
    assert found.mode == "RGB"
    assert found.size == (5, 3)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_colors_are_the_same_in_every_mode(quarters, mode):
    grey = mode == "L"
    wanted = quarters.convert("L").convert("RGB") if grey else quarters
    assert_close(read_photo(quarters.convert(mode)), wanted, tolerance=3)


def test_transparency_in_a_palette_becomes_white(tmp_path):
    picture = Image.new("P", (4, 4))
    picture.putpalette([*RED, *GREEN, *BLUE])
    picture.putpixel((1, 2), 1)
    path = tmp_path / "palette.png"
    picture.save(path, transparency=bytes([0, 128, 255]))
    found = read_photo(path)
    assert found.getpixel((0, 0)) == WHITE
    assert found.getpixel((1, 2)) == (127, 255, 127)


def test_sixteen_bit_values_are_scaled_not_clipped(tmp_path):
    """Pillow's own conversion would clip everything above 255 to white."""
    values = np.array([[0, 257 * 64], [257 * 128, 65535]], dtype=np.uint16)
    path = tmp_path / "deep.png"
    Image.fromarray(values).save(path)
    assert np.asarray(read_photo(path))[..., 0].tolist() == [[0, 64], [128, 255]]


def test_floats_are_scaled_from_their_own_range():
    values = np.array([[-2.0, -1.0], [0.0, 2.0]], dtype=np.float32)
    found = np.asarray(read_photo(Image.fromarray(values)))
    assert found[..., 0].tolist() == [[0, 64], [128, 255]]
    assert read_photo(Image.fromarray(np.full((2, 2), 7, np.float32))).getpixel((0, 0)) == (0, 0, 0)


def test_nan_in_a_float_picture_is_black_and_leaves_other_pixels_alone():
    values = np.array([[np.nan, 0.0], [1.0, np.inf]], dtype=np.float32)
    found = np.asarray(read_photo(Image.fromarray(values)))
    assert found[..., 0].tolist() == [[0, 0], [255, 255]]
    nothing = Image.fromarray(np.full((2, 2), np.nan, np.float32))
    assert not np.asarray(read_photo(nothing)).any()


def test_an_open_picture_is_not_changed(quarters):
    quarters.getexif()[ORIENTATION] = 6
    before = quarters.copy()
    assert read_photo(quarters).size == (32, 48)
    assert quarters.size == before.size
    assert np.array_equal(np.asarray(quarters), np.asarray(before))


def test_path_string_bytes_and_picture_give_the_same_photo(photo_file):
    by_path = np.asarray(read_photo(photo_file))
    for source in (str(photo_file), photo_file.read_bytes(), Image.open(photo_file)):
        assert np.array_equal(np.asarray(read_photo(source)), by_path)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (301, 2)])
def test_tiny_and_thin_photos_are_photos(noise_photo, size):
    assert read_photo(encoded(noise_photo(*size))).size == size


def test_text_named_like_a_photo_is_refused(tmp_path):
    path = tmp_path / "holiday.jpg"
    path.write_text("Dear diary", encoding="utf-8")
    with pytest.raises(PhotoError, match=r"'holiday.jpg' is not a picture .* give a JPEG, PNG"):
        read_photo(path)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(PhotoError, match=r"'empty.png' is not a picture"):
        read_photo(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF"])
def test_a_truncated_photo_is_refused(noise_photo, tmp_path, kind):
    content = encoded(noise_photo(200, 150), kind)
    path = tmp_path / "half.jpg"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(PhotoError, match=r"'half.jpg' is (damaged|not a picture)"):
        read_photo(path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_truncated_heic_is_refused(noise_photo, keep):
    content = heic(noise_photo(200, 150))
    with pytest.raises(PhotoError, match=r"The picture is (damaged|not a picture)"):
        read_photo(content[: int(keep * len(content))])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"])
@pytest.mark.filterwarnings("ignore")  # decoders may warn about damaged files
def test_a_damaged_file_gives_a_photo_or_a_photo_error(noise_photo, kind):
    """Random bytes are flipped and files truncated; any other exception fails the test."""
    picture = noise_photo(33, 24)
    content = heic(picture.resize((64, 48))) if kind == "HEIC" else encoded(picture, kind)
    random = np.random.default_rng(0)
    refusals = []
    for attempt in range(60):
        damaged = bytearray(content)
        for _ in range(random.integers(1, 6)):
            reach = min(len(damaged), 300) if attempt % 2 else len(damaged)
            damaged[random.integers(12, reach)] = random.integers(256)
        end = random.integers(1, len(damaged)) if attempt % 5 == 0 else len(damaged)
        try:
            assert read_photo(bytes(damaged[:end])).mode == "RGB"
        except PhotoError as error:
            refusals.append(str(error))
    assert refusals
    assert all(refusal.endswith(("again.", "file.", "a side).")) for refusal in refusals)


def test_a_missing_photo_is_named(tmp_path):
    with pytest.raises(PhotoError, match=r"There is no photo at '.*gone.jpg'; check the path"):
        read_photo(tmp_path / "gone.jpg")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(PhotoError, match=r"cannot be read .*; name a picture file"):
        read_photo(tmp_path)


def bomb(width: int, height: int) -> bytes:
    """A few bytes of GIF that claim to be a huge picture."""
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return b"GIF89a" + size + b"\x80\x00\x00" + bytes(6) + b"," + bytes(4) + size + b"\x00\x02"


@pytest.mark.parametrize("size", [(10_000, 8_001), (10_000, 10_000), (60_000, 60_000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_by_its_size(size):
    with pytest.raises(PhotoError, match="more than 80 million pixels; make it smaller"):
        read_photo(bomb(*size))


def test_the_limit_is_below_that_of_pillow():
    assert Image.MAX_IMAGE_PIXELS is not None
    assert 48_000_000 < MAX_PIXELS < Image.MAX_IMAGE_PIXELS


def test_a_huge_heic_is_refused_before_it_is_decoded(quarters, monkeypatch):
    from pi_heif.heif import BaseImage

    def decode(*_):
        pytest.fail("the picture was decoded")

    content = heic(quarters.resize((64, 64)))
    monkeypatch.setattr(photo_module, "MAX_PIXELS", 64 * 64 - 1)
    monkeypatch.setattr(BaseImage, "load", decode)
    with pytest.raises(PhotoError, match="make it smaller"):
        read_photo(content)


def children_started() -> int:
    """A counter that increases with every child process that has run and exited."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A fake `gs` on the PATH that creates a file when it runs; returns that file's path."""
    note = tmp_path / "ghostscript-ran"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {note}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return note


def test_postscript_named_like_a_photo_is_refused_and_never_run(tmp_path, quarters, ghostscript):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(encoded(quarters, "EPS"))
    with pytest.raises(PhotoError, match="'holiday.jpg' is not a picture that can be read here"):
        read_photo(path)
    assert not ghostscript.exists()


# Headers that a Pillow plugin accepts, for formats that Pillow cannot write.
HEADERS = {
    "PSD": b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x18\0\0\0\x21\0\x08\0\3",
    "FITS": b"".join(
        line.ljust(80)
        for line in (b"SIMPLE  = T", b"BITPIX  = 8", b"NAXIS   = 2", b"NAXIS1  = 4", b"NAXIS2  = 4")
    )
    + b"END".ljust(80),
    "PCD": bytes(2048) + b"PCD_",
    "CUR": b"\0\0\2\0\1\0",
    "DCX": b"\xb1\x68\xde\x3a",
    "FLI": b"\0\0\0\0\x12\xaf",
    "FTEX": b"FTEX",
    "GBR": b"\0\0\0\x1c\0\0\0\2",
    "WMF": b"\xd7\xcd\xc6\x9a\0\0",
    "XPM": b"/* XPM */",
    "MPEG": b"\0\0\1\xb3",
    "IPTC": b"\x1c\1",
    "XVTHUMB": b"P7 332\n",
    "MCIDAS": b"\0\0\0\0\0\0\0\4",
    "HDF5": b"\x89HDF\r\n\x1a\n",
}


def written(kind: str, picture: Image.Image) -> bytes | None:
    """A file of one of Pillow's formats, in the first mode that the format supports."""
    for mode in ("RGB", "L", "P", "1", "RGBA"):
        try:
            return encoded(picture.convert(mode), kind)
        except (OSError, ValueError, KeyError, NotImplementedError):
            continue
    return None


def all_kinds(picture: Image.Image) -> dict[str, bytes]:
    """A file of every format that Pillow can write, and headers of those that it can only read."""
    Image.init()
    files = {kind: content for kind in Image.SAVE if (content := written(kind, picture))}
    return files | {kind: header + bytes(600) for kind, header in HEADERS.items()}


@pytest.mark.filterwarnings("ignore")  # writers may warn about lossy conversions
def test_only_the_documented_formats_are_read(noise_photo, ghostscript):
    files = all_kinds(noise_photo(33, 24))
    assert len(files) > 40
    for kind, content in files.items():
        if kind in {*FORMATS, "MPO", "DIB"}:
            continue
        with pytest.raises(PhotoError, match=r"not a picture .* give a JPEG, PNG"):
            read_photo(content)
    assert not ghostscript.exists()


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """A file with some bytes, mostly in its header, changed, repeated or removed."""
    damaged = bytearray(content)
    for _ in range(random.integers(1, 7)):
        place = int(random.integers(4, min(len(damaged), 200 if random.integers(2) else 9999999)))
        how = random.integers(3)
        if how == 0:
            damaged[place] = random.integers(256)
        elif how == 1:
            number = int(random.choice([0, 2**16, 2**31 - 1, 2**32 - 1]))
            damaged[place : place + 4] = number.to_bytes(
                4, "big" if random.integers(2) else "little"
            )
        else:
            damaged[place:place] = damaged[-int(random.integers(1, 50)) :]
    return bytes(
        damaged[: int(random.integers(5, len(damaged)))] if random.random() < 0.2 else damaged
    )


@pytest.mark.filterwarnings("ignore")  # decoders may warn about damaged files
def test_a_mutated_file_soon_gives_a_photo_or_a_photo_error(noise_photo, ghostscript):
    picture = noise_photo(33, 24)
    files = {**all_kinds(picture), "HEIC": heic(picture.resize((64, 48)))}
    before, random, ends = children_started(), np.random.default_rng(1), {"photo": 0, "refused": 0}
    for content in files.values():
        for _ in range(25):
            begin = time.thread_time()
            try:
                assert read_photo(mutated(content, random)).mode == "RGB"
                ends["photo"] += 1
            except PhotoError:
                ends["refused"] += 1
            assert time.thread_time() - begin < 5
    assert min(ends.values()) > 50
    assert children_started() == before


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_a_decoder_that_reads_block_by_block_has_a_time_limit(noise_photo, kind):
    content = encoded(noise_photo(600, 500), kind)
    seconds = count(0, 1 + DECODE_SECONDS)
    with pytest.raises(
        PhotoError, match=r"The picture takes longer than 3 seconds to decode; .*again"
    ):
        read_photo(content, clock=lambda: next(seconds))
    assert read_photo(content, clock=lambda: 0.0).size == (600, 500)


def rle_bitmap(width: int, height: int, body: bytes) -> bytes:
    """A run-length BMP, which Pillow decodes in Python."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + header + bytes(1024) + body


def test_a_bitmap_with_one_extremely_long_row_is_refused():
    with pytest.raises(PhotoError, match="make it smaller"):
        read_photo(rle_bitmap(79_000_000, 1, b"\1\1\0\0\0\1"))
    assert read_photo(rle_bitmap(2, 1, b"\2\1\0\0\0\1")).size == (2, 1)


def test_deep_pictures_are_converted_to_eight_bits_a_few_rows_at_a_time(monkeypatch):
    """All rows at once would need sixteen bytes per pixel, 1.3 GB for 80 megapixels."""
    values = np.arange(700 * 3, dtype=np.float32).reshape(700, 3)
    for deep in (Image.fromarray(values), Image.fromarray((values * 31).astype(np.uint16))):
        few = np.asarray(read_photo(deep))
        monkeypatch.setattr(photo_module, "ROWS_PER_CHUNK", 10_000)
        assert np.array_equal(few, np.asarray(read_photo(deep)))
        monkeypatch.undo()
    content = encoded(Image.new("I;16", (400, 3000), 128 * 257))
    rows: list[int] = []
    convert = np.asarray

    def counted(values: object, *args: object, **kwargs: object) -> np.ndarray:
        array = convert(values, *args, **kwargs)
        rows.append(array.shape[0])
        return array

    monkeypatch.setattr(photo_module.np, "asarray", counted)
    assert read_photo(content).getpixel((0, 0)) == (128, 128, 128)
    assert max(rows) < 3000


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "TIFF", "HEIC"])
def test_uninterruptible_decoders_have_lower_limits(quarters, monkeypatch, kind):
    content = heic(quarters.resize((64, 64))) if kind == "HEIC" else encoded(quarters, kind)
    assert photo_module.UNINTERRUPTIBLE[kind][0] < MAX_PIXELS
    read_photo(content)
    for limit in ((48 * 32 - 1, len(content)), (64 * 64, len(content) - 1)):
        monkeypatch.setitem(photo_module.UNINTERRUPTIBLE, kind, limit)
        with pytest.raises(PhotoError, match="make it smaller first"):
            read_photo(content)


@pytest.mark.parametrize("open_end", [True, False])
def test_a_pipe_is_refused_without_blocking(tmp_path, open_end):
    path = tmp_path / "pipe.jpg"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR | os.O_NONBLOCK) if open_end else None
    try:
        refusal = r"cannot be read \(it is not a regular file\); name a"
        with pytest.raises(PhotoError, match=refusal):
            read_photo(path)
    finally:
        if writer is not None:
            os.close(writer)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/stdin"])
def test_a_device_is_refused(device):
    with pytest.raises(PhotoError, match="name a picture file"):
        read_photo(device)


def test_a_file_that_is_replaced_by_a_pipe_before_opening_is_refused(photo_file, monkeypatch):
    """The file is checked again after opening, and opening does not wait for a writer."""
    really_open = os.open

    def replaced(path: str, flags: int) -> int:
        photo_file.unlink()
        os.mkfifo(photo_file)
        return really_open(path, flags)

    monkeypatch.setattr(os, "open", replaced)
    with pytest.raises(PhotoError, match="not a regular file"):
        read_photo(photo_file)


def test_a_file_with_too_many_bytes_is_refused_before_reading(tmp_path):
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(10**13)
    with pytest.raises(PhotoError, match=r"'huge.jpg' has more than 100 MB; make it smaller"):
        read_photo(path)


def test_a_growing_file_is_read_only_up_to_the_limit(photo_file, monkeypatch):
    monkeypatch.setattr(photo_module, "MAX_BYTES", photo_file.stat().st_size)
    read_photo(photo_file)
    content = photo_file.read_bytes()
    assert read_photo(content).size
    with pytest.raises(PhotoError, match="make it smaller"):
        read_photo(content + b"!")
    photo_file.write_bytes(content + b"!")
    with pytest.raises(PhotoError, match="make it smaller"):
        read_photo(photo_file)


@pytest.mark.parametrize("path", ["a\0b.jpg", "x" * 5000 + ".jpg"])
def test_an_invalid_path_is_refused(path):
    with pytest.raises(PhotoError, match="(check the path|name a picture file)"):
        read_photo(path)


@pytest.mark.parametrize("bug", [ValueError, TypeError, IndexError, OSError])
@pytest.mark.parametrize("ours", ["_rgb", "_on_white", "_to_8_bit"])
def test_a_bug_in_our_code_is_not_reported_as_a_damaged_file(monkeypatch, ours, bug):
    def broken(*_: object) -> Image.Image:
        raise bug("ours")

    mode = {"_rgb": "RGB", "_on_white": "RGBA", "_to_8_bit": "I;16"}[ours]
    content = encoded(Image.new(mode, (5, 3)))
    read_photo(content)
    monkeypatch.setattr(photo_module, ours, broken)
    with pytest.raises(bug, match="ours"):
        read_photo(content)


@pytest.mark.parametrize("fault", [ValueError, TypeError, KeyError, ZeroDivisionError, MemoryError])
@pytest.mark.parametrize("step", ["_open", "load"])
def test_any_error_of_a_decoder_becomes_a_photo_error(quarters, monkeypatch, step, fault):
    def broken(*_: object) -> None:
        raise fault("theirs")

    content = encoded(quarters, "TIFF")
    owner = TiffImagePlugin.TiffImageFile if step == "_open" else ImageFile.ImageFile
    monkeypatch.setattr(owner, step, broken)
    with pytest.raises(PhotoError, match="The picture (is|has)"):
        read_photo(content)


def blended_on_white(colour: tuple[int, ...], alpha: int) -> tuple[int, ...]:
    return tuple(round((value * alpha + 255 * (255 - alpha)) / 255) for value in colour)


@pytest.mark.parametrize("alpha", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_are_blended_on_white_as_in_a_browser(kind, alpha):
    colour = (200, 30, 60)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    content = encoded(Image.new("RGBA", (4, 3), (*colour, alpha)), kind, **options)
    found = read_photo(content).getpixel((1, 1))
    assert np.abs(np.subtract(found, blended_on_white(colour, alpha))).max() <= 1
    assert alpha < 255 or found == colour


def test_transparency_of_gray_palette_and_single_color_pictures_is_applied():
    assert read_photo(Image.new("LA", (2, 2), (40, 0))).getpixel((0, 0)) == WHITE
    assert read_photo(Image.new("LA", (2, 2), (40, 255))).getpixel((0, 0)) == (40, 40, 40)
    assert read_photo(Image.new("PA", (2, 2), (40, 0))).getpixel((0, 0)) == WHITE
    assert read_photo(Image.new("RGBa", (2, 2), (0, 0, 0, 0))).getpixel((0, 0)) == WHITE
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([*RED, *GREEN])
    palette.putpixel((1, 1), 0)
    clear = read_photo(encoded(palette, "GIF", transparency=1))
    assert (clear.getpixel((0, 0)), clear.getpixel((1, 1))) == (WHITE, RED)
    one = read_photo(encoded(Image.new("RGB", (2, 2), RED), transparency=RED))
    assert one.getpixel((0, 0)) == WHITE


def test_opaque_pictures_keep_every_bit(noise_photo):
    picture = noise_photo(40, 30)
    for mode in ("RGB", "RGBA", "P", "L", "CMYK", "YCbCr"):
        wanted = np.asarray(picture.convert(mode).convert("RGB"))
        assert np.array_equal(np.asarray(read_photo(picture.convert(mode))), wanted)


def test_an_array_is_read_as_a_photo(noise_photo):
    array = np.asarray(noise_photo(9, 7))
    assert np.array_equal(np.asarray(read_photo(array)), array)
    assert np.array_equal(np.asarray(read_photo(array[::-1, ::2])), array[::-1, ::2])
    again = array.copy()
    photo = read_photo(again)
    again[:] = 0
    assert np.array_equal(np.asarray(photo), array)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 5), np.uint8), r"shape \(4, 5\) and the dtype uint8; pass one with shape"),
        (np.zeros((4, 5, 4), np.uint8), r"shape \(4, 5, 4\)"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"shape \(1, 4, 5, 3\)"),
        (np.zeros((4, 5, 3), np.float32), "dtype float32; pass .* dtype uint8"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.broadcast_to(np.uint8(1), (9000, 9000, 3)), "80 million pixels"),
    ],
)
def test_an_array_of_another_shape_or_dtype_is_refused(array, words):
    with pytest.raises(PhotoError, match=words):
        read_photo(array)


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(PhotoError, match=r"has no pixels \(0 × 3\)"):
        read_photo(Image.new("RGB", (0, 3)))


def test_an_animation_is_read_as_its_first_picture(quarters):
    for kind in ("GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO"):
        more = [Image.new("RGB", quarters.size, BLUE)]
        content = encoded(quarters, kind, save_all=True, append_images=more)
        found = corners(read_photo(content))
        assert np.abs(np.subtract(found, (RED, GREEN, BLUE, WHITE))).max() < 40


def test_exif_tags_that_share_their_data_are_refused(quarters):
    """Five hundred tags that all point at the same 60 kB."""
    tags = b"".join(struct.pack("<HHII", 1000 + tag, 3, 30_000, 0) for tag in range(500))
    exif = (b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 500) + tags).ljust(60_000, b"\0")
    for kind in ("JPEG", "PNG", "WEBP"):
        with pytest.raises(PhotoError, match="metadata tags that share their data"):
            read_photo(encoded(quarters, kind, exif=exif))
    large = bytes(1_200_000)
    with pytest.raises(PhotoError, match="bytes of EXIF data"):
        read_photo(encoded(quarters, "PNG", exif=b"Exif\0\0" + large))
