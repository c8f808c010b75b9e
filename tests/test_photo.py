"""Every picture a person may have is read upright and in RGB; everything else is refused kindly."""

import io

import numpy as np
import pytest
from PIL import Image

from vit_demo import photo as photo_module
from vit_demo.errors import PhotoError
from vit_demo.photo import MAX_PIXELS, read_photo

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112

# How a camera lays down an upright picture under each of EXIF's eight orientations.
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
    # Whoever opens the result again must not turn it a second time.
    assert found.getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_lossless_formats_come_out_as_they_went_in(quarters, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert_close(read_photo(encoded(quarters, kind, **options)), quarters, tolerance=0)


@pytest.mark.parametrize(("kind", "tolerance"), [("JPEG", 8), ("AVIF", 30)])
def test_lossy_formats_come_out_much_as_they_went_in(noise_photo, kind, tolerance):
    picture = noise_photo(40, 24).resize((160, 96), Image.Resampling.BICUBIC)
    found = read_photo(encoded(picture, kind, quality=95))
    gap = np.abs(np.asarray(found, dtype=int) - np.asarray(picture, dtype=int))
    assert gap.mean() < 3
    assert np.percentile(gap, 99) <= tolerance


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photo_from_an_iphone_is_read_and_turned_once(quarters, orientation):
    """HEIC is told by its content: the app only carries a decoder, the test brings the encoder."""
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
def test_a_mode_changes_how_colours_are_stored_and_not_the_colours(quarters, mode):
    grey = mode == "L"
    wanted = quarters.convert("L").convert("RGB") if grey else quarters
    assert_close(read_photo(quarters.convert(mode)), wanted, tolerance=3)


def test_transparency_in_a_palette_shows_white(tmp_path):
    picture = Image.new("P", (4, 4))
    picture.putpalette([*RED, *GREEN, *BLUE])
    picture.putpixel((1, 2), 1)
    path = tmp_path / "palette.png"
    picture.save(path, transparency=bytes([0, 128, 255]))
    found = read_photo(path)
    assert found.getpixel((0, 0)) == WHITE
    assert found.getpixel((1, 2)) == (127, 255, 127)


def test_sixteen_bits_keep_their_middle_grey(tmp_path):
    """Pillow's own conversion would clip everything above 255 to white."""
    values = np.array([[0, 257 * 64], [257 * 128, 65535]], dtype=np.uint16)
    path = tmp_path / "deep.png"
    Image.fromarray(values).save(path)
    assert np.asarray(read_photo(path))[..., 0].tolist() == [[0, 64], [128, 255]]


def test_floats_are_spread_over_their_own_range():
    values = np.array([[-2.0, -1.0], [0.0, 2.0]], dtype=np.float32)
    found = np.asarray(read_photo(Image.fromarray(values)))
    assert found[..., 0].tolist() == [[0, 64], [128, 255]]
    assert read_photo(Image.fromarray(np.full((2, 2), 7, np.float32))).getpixel((0, 0)) == (0, 0, 0)


def test_holes_in_a_float_picture_are_black_and_harm_nothing_else():
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


def test_path_string_bytes_and_picture_give_the_same(photo_file):
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
def test_half_a_photo_is_refused_and_never_half_grey(noise_photo, tmp_path, kind):
    content = encoded(noise_photo(200, 150), kind)
    path = tmp_path / "half.jpg"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(PhotoError, match=r"'half.jpg' is (damaged|not a picture)"):
        read_photo(path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_half_a_heic_is_refused(noise_photo, keep):
    content = heic(noise_photo(200, 150))
    with pytest.raises(PhotoError, match=r"The picture is (damaged|not a picture)"):
        read_photo(content[: int(keep * len(content))])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"])
@pytest.mark.filterwarnings("ignore")  # decoders may well complain about what is done to them here
def test_damage_of_any_kind_ends_in_a_photo_or_in_our_error(noise_photo, kind):
    """Bytes flipped and files cut off at random; any other exception fails the test."""
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


def test_a_folder_is_no_photo(tmp_path):
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


def test_the_limit_lies_below_pillows_own():
    assert Image.MAX_IMAGE_PIXELS is not None
    assert 48_000_000 < MAX_PIXELS < Image.MAX_IMAGE_PIXELS


def test_a_huge_heic_is_refused_before_it_is_decoded(quarters, monkeypatch):
    from pi_heif.heif import BaseImage

    def decode(*_):
        pytest.fail("decoded all the same")

    content = heic(quarters.resize((64, 64)))
    monkeypatch.setattr(photo_module, "MAX_PIXELS", 64 * 64 - 1)
    monkeypatch.setattr(BaseImage, "load", decode)
    with pytest.raises(PhotoError, match="make it smaller"):
        read_photo(content)
