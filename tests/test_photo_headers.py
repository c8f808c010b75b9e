"""Headers reveal files that need too much work to decode; ordinary files pass."""

import io
import struct

import pillow_heif
import pytest
from PIL import Image

from vit_demo import photo_headers
from vit_demo.photo_headers import MAX_CODED_PIXELS, excess, exif_excess


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    if kind == "HEIC":
        pillow_heif.from_pillow(picture).save(stream, **options)
    else:
        picture.save(stream, kind, **options)
    return stream.getvalue()


def real_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "TIFF", "AVIF", "HEIC", "PNG", "WEBP"])
def test_ordinary_files_pass(noise_photo, kind):
    picture = noise_photo(120, 90)
    clear = Image.merge("RGBA", (*picture.split(), picture.convert("L")))
    assert excess(encoded(picture, kind)) is None
    exif = real_exif().tobytes() if kind == "HEIC" else real_exif()
    assert excess(encoded(picture, kind, exif=exif)) is None
    if kind not in ("JPEG", "MPO"):
        assert excess(encoded(clear, kind)) is None
    if kind in ("MPO", "TIFF", "AVIF"):
        assert excess(encoded(picture, kind, save_all=True, append_images=[picture])) is None
    if kind == "JPEG":
        assert excess(encoded(picture, kind, progressive=True)) is None
        assert excess(encoded(picture, kind, comment=b"\xff\xda" * 1000)) is None
    if kind == "TIFF":
        for compression in ("tiff_lzw", "jpeg", "tiff_adobe_deflate", "lzma"):
            assert excess(encoded(picture, kind, compression=compression)) is None
        assert excess(encoded(picture, kind, big_tiff=True)) is None


def with_more_scans(content: bytes, times: int) -> bytes:
    """Repeat the last scan of a progressive JPEG."""
    begin, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    return content[:end] + content[begin:end] * times + content[end:]


def test_jpeg_scans_are_limited(noise_photo):
    content = encoded(noise_photo(64, 48), "JPEG", progressive=True)
    assert excess(with_more_scans(content, 80)) is None
    assert "101 or more scans" in (excess(with_more_scans(content, 5000)) or "")


def test_scans_times_pixels_are_limited(noise_photo, monkeypatch):
    content = encoded(noise_photo(64, 48), "JPEG", progressive=True)
    monkeypatch.setattr(photo_headers, "MAX_JPEG_SCAN_PIXELS", 20 * 64 * 48)
    assert excess(content) is None
    assert "21 or more scans" in (excess(with_more_scans(content, 20)) or "")


def test_jpeg_segments_are_limited(noise_photo):
    content = encoded(noise_photo(16, 16), "JPEG")
    many = content[:2] + b"\xff\xe4\0\2" * 20_000 + content[2:]
    assert excess(many) == "has more than 10000 segments"


def directory(*entries: tuple[int, int, int, int], big_endian: bool = False) -> bytes:
    """A TIFF header and one directory of (tag, type, count, value or offset)."""
    order, name = (">", b"MM\0*") if big_endian else ("<", b"II*\0")
    content = name + struct.pack(f"{order}IH", 8, len(entries))
    return content + b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries) + bytes(4)


@pytest.mark.parametrize("big_endian", [False, True])
def test_tags_may_not_share_their_data(big_endian):
    one = directory((1000, 7, 5000, 30), big_endian=big_endian).ljust(6000, b"\0")
    assert exif_excess(one) is None
    tags = [(1000 + tag, 7, 5000, 90) for tag in range(6)]
    several = directory(*tags, big_endian=big_endian).ljust(6000, b"\0")
    assert "share their data" in (exif_excess(several) or "")
    assert "share their data" in (excess(several) or "")


@pytest.mark.parametrize("pointer", [34665, 34853, 40965])
def test_further_directories_are_followed_once(pointer):
    inside = directory(*((1000 + tag, 7, 5000, 0) for tag in range(9)))[8:]
    content = (directory((pointer, 4, 1, 30)).ljust(30, b"\0") + inside).ljust(6000, b"\0")
    assert "share their data" in (exif_excess(content) or "")
    assert "share their data" in (excess(content) or "")
    circle = directory((pointer, 4, 1, 8)).ljust(100, b"\0")
    assert exif_excess(circle) is None
    assert excess(circle) is None


def test_a_repeated_exif_prefix_is_refused():
    assert exif_excess(b"Exif\0\0" * 2 + directory((1000, 7, 5, 30))) is None
    refusal = "repeats the name of its EXIF data too often"
    assert exif_excess(b"Exif\0\0" * 100_000) == refusal


def test_damaged_headers_are_left_to_the_decoder():
    for content in (b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1"):
        assert excess(content) is None
        assert exif_excess(content) is None
    far = directory((1000, 7, 2**31, 2**31), (1001, 7, 2**31, 2**31))
    assert exif_excess(far) is None


SMALL_GREY = ((256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 5))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([(322, 4, 1, 40_000), (323, 4, 1, 40_000)], "tiles of more than 50 million pixels"),
        ([(273, 4, 70_000, 0)], "more than 65536 strips"),
        ([(324, 4, 70_000, 0)], "more than 65536 strips"),
        ([(256, 4, 1, 65)], "the same TIFF tag twice"),
    ],
)
def test_an_unusual_tiff_structure_is_refused(entries, words):
    content = directory(*SMALL_GREY, *entries).ljust(400_000, b"\0")
    assert words in (excess(content) or "")


def test_a_tiff_with_too_many_tags_is_refused():
    assert "more TIFF tags" in (excess(b"II*\0\x08\0\0\0\xff\xff".ljust(800_000, b"\0")) or "")
    assert "big-endian BigTIFF" in (excess(b"MM\0\x2b".ljust(400, b"\0")) or "")


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def heif(
    items: dict[int, tuple[bytes, bytes]],
    sizes: dict[int, tuple[int, int]] | None = None,
    references: list[tuple[bytes, int, list[int]]] | None = None,
    brand: bytes = b"heic",
) -> bytes:
    """A HEIF file of items (kind, data) with their sizes; the first item is the primary one."""
    start = box(b"ftyp", brand + bytes(4) + brand)
    entries = b"".join(
        box(b"infe", b"\2\0\0\0" + struct.pack(">HH", number, 0) + kind + b"\0")
        for number, (kind, _) in items.items()
    )
    stated = list((sizes or {}).items())
    shapes = b"".join(box(b"ispe", bytes(4) + struct.pack(">II", *size)) for _, size in stated)
    links = b"".join(
        struct.pack(">HBB", number, 1, place) for place, (number, _) in enumerate(stated, start=1)
    )
    shape = box(
        b"iprp",
        box(b"ipco", shapes) + box(b"ipma", bytes(4) + struct.pack(">I", len(stated)) + links),
    )
    parts = b"".join(
        box(kind, struct.pack(f">HH{len(to)}H", number, len(to), *to))
        for kind, number, to in references or []
    )

    def meta(offset: int) -> bytes:
        places = b""
        for number, (_, data) in items.items():
            places += struct.pack(">HHHII", number, 0, 1, offset, len(data))
            offset += len(data)
        return box(
            b"meta",
            bytes(4)
            + box(b"pitm", bytes(4) + struct.pack(">H", next(iter(items))))
            + box(b"iinf", bytes(4) + struct.pack(">H", len(items)) + entries)
            + box(b"iloc", bytes(4) + b"\x44\0" + struct.pack(">H", len(items)) + places)
            + shape
            + box(b"iref", bytes(4) + parts),
        )

    begin = len(start) + len(meta(0)) + 8
    return start + meta(begin) + box(b"mdat", b"".join(data for _, data in items.values()))


# A slice of an independently decodable picture: length, unit type 19, the first slice's flag.
SLICE = struct.pack(">I", 3) + bytes([19 << 1, 1, 0x80])


def test_slices_and_tiles_of_a_heic_are_counted():
    size = (5000, 5000)
    assert excess(heif({1: (b"hvc1", SLICE)}, {1: size})) is None
    assert "through 175 million" in (excess(heif({1: (b"hvc1", SLICE * 7)}, {1: size})) or "")
    tiles = {1: (b"grid", b""), 2: (b"hvc1", SLICE)}
    assert excess(heif(tiles, {2: size}, [(b"dimg", 1, [2] * 4)])) is None
    assert "decoder through" in (excess(heif(tiles, {2: size}, [(b"dimg", 1, [2] * 6)])) or "")


def test_transparency_counts_and_hidden_items_do_not():
    items = {1: (b"hvc1", SLICE), 2: (b"hvc1", SLICE * 5)}
    sizes = {1: (5000, 5000), 2: (5000, 5000)}
    assert excess(heif(items, sizes)) is None
    assert excess(heif(items, sizes, [(b"thmb", 2, [1])])) is None
    assert "decoder through 150" in (excess(heif(items, sizes, [(b"auxl", 2, [1])])) or "")


def test_nested_pictures_are_limited():
    circle = heif({1: (b"iden", b"")}, references=[(b"dimg", 1, [1])])
    assert "parts of parts" in (excess(circle) or "")
    kinds = dict.fromkeys(range(1, 4), (b"grid", b"")) | {4: (b"hvc1", SLICE)}
    links = [(b"dimg", number, [number + 1] * 500) for number in range(1, 4)]
    assert "decoder through" in (excess(heif(kinds, {4: (64, 64)}, links)) or "")


def test_other_codecs_are_refused():
    assert "kind 'unci'" in (excess(heif({1: (b"unci", b"x")}, {1: (9, 9)})) or "")


def test_every_frame_of_an_avif_counts_with_its_true_size(noise_photo):
    """Even if a frame is hidden or the file understates its size, the decoder decodes it."""
    content = encoded(noise_photo(1500, 1000), "AVIF", speed=10, quality=1)
    top = dict(photo_headers._boxes(content, 0, len(content)))
    data = content[slice(*top[b"mdat"])]
    assert photo_headers._av1_pixels(data, (0, 0)) == 1500 * 1000
    once = heif({1: (b"av01", data)}, {1: (64, 64)}, brand=b"avif")
    assert excess(once) is None
    often = heif({1: (b"av01", data * 90)}, {1: (64, 64)}, brand=b"avif")
    assert f"more than {MAX_CODED_PIXELS // 1_000_000} million" in (excess(often) or "")


def test_the_first_frame_of_an_animation_counts(noise_photo):
    picture = noise_photo(48, 32)
    content = encoded(picture, "AVIF", save_all=True, append_images=[picture.rotate(180)])
    movie = dict(photo_headers._boxes(content, 0, len(content)))[b"moov"]
    samples = list(photo_headers._first_samples(content, movie))
    assert [photo_headers._av1_pixels(content[slice(*s)], (0, 0)) for s in samples] == [48 * 32]


def test_boxes_items_and_units_are_limited():
    assert "boxes" in (excess(box(b"ftyp", b"heic") + box(b"free", b"") * 3000) or "")
    twice = heif({1: (b"hvc1", SLICE)}, {1: (8, 8)})
    assert "'meta' twice" in (excess(twice + box(b"meta", bytes(4))) or "")
    many = dict.fromkeys(range(1, 1500), (b"mime", b""))
    assert "1000" in (excess(heif(many)) or "")
    units = heif({1: (b"hvc1", bytes(5000))}, {1: (8, 8)})
    assert "more units" in (excess(units) or "")
