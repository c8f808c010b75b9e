"""Check the headers of a photo file before decoding it, and find files that need too much work.

A few bytes can cost a decoder minutes or gigabytes of memory: a JPEG with thousands of scans, a
directory whose tags all point at the same data, a picture that repeats one tile a thousand times.
`excess` finds these by counting. Damaged files are left to the decoder, which reports them. Slices
of bytes never raise, so no file can make the functions here fail.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

# A progressive JPEG has about 10 scans. Each one is decoded over the whole picture, at about one
# nanosecond per pixel, however few bytes it has.
MAX_JPEG_SCANS = 100
MAX_JPEG_SCAN_PIXELS = 1_600_000_000
MAX_JPEG_SEGMENTS = 10_000

# A camera writes a few kilobytes of EXIF data.
MAX_EXIF_BYTES = 1_000_000
# Total size of the tags' data, as a multiple of the file's EXIF bytes. A tag with a damaged length
# can overlap others; a decompression bomb has thousands of overlapping tags.
EXIF_OVERLAP = 4
MAX_DIRECTORY_TAGS = 1_000
MAX_DIRECTORIES = 8

# Pillow creates a Python object for each strip of an uncompressed TIFF.
MAX_TIFF_STRIPS = 65_536
MAX_TIFF_TILE_PIXELS = 50_000_000

# Pixels that an AVIF or HEIC decoder may decode to show one picture: the largest allowed picture
# twice, for color and transparency, plus a margin of half a picture.
MAX_CODED_PIXELS = 125_000_000
MAX_ITEMS = 1_000
MAX_ITEM_DEPTH = 4
MAX_ITEM_UNITS = 1_000
MAX_BOXES = 2_000
MAX_TRACKS = 16

JPEG_START = b"\xff\xd8\xff"
TIFF_STARTS = (b"II\x2a\x00", b"MM\x00\x2a", b"II\x2b\x00", b"MM\x00\x2b")


def excess(content: bytes) -> str | None:
    """Why a file needs too much work, as the end of a sentence that starts with its name."""
    if content.startswith(JPEG_START):
        return _jpeg_excess(content)
    if content.startswith(TIFF_STARTS):
        return _tiff_excess(content)
    if content[4:8] == b"ftyp":
        return _heif_excess(content)
    return None


# --- JPEG ---------------------------------------------------------------------------------------

# A marker that is neither a stuffed zero nor a restart marker inside a scan.
MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN, WITHOUT_LENGTH = 0xD8, 0xD9, 0xDA, 0x01
FRAME_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
EXIF_SEGMENT, MPF_SEGMENT = 0xE1, 0xE2
EXIF_NAME, MPF_NAME = b"Exif\0\0", b"MPF\0"


def _jpeg_excess(content: bytes) -> str | None:
    position, segments, scans, pixels = 2, 0, 0, 0
    exif: list[bytes] = []
    while found := MARKER.search(content, position):
        marker, position = found[1][0], found.end()
        if marker == END_OF_IMAGE and scans:
            break
        if marker in (START_OF_IMAGE, END_OF_IMAGE, WITHOUT_LENGTH):
            continue
        length = max(_number(content, position, 2), 2)
        body = content[position + 2 : position + length]
        position += length
        segments += 1
        if segments > MAX_JPEG_SEGMENTS:
            return f"has more than {MAX_JPEG_SEGMENTS} segments"
        if marker in FRAME_HEADERS:
            pixels = max(pixels, _number(body, 1, 2) * _number(body, 3, 2))
        elif marker == START_OF_SCAN:
            scans += 1
            if scans > MAX_JPEG_SCANS or scans * pixels > MAX_JPEG_SCAN_PIXELS:
                return f"has {scans} or more scans, which take too long to decode"
        elif marker == EXIF_SEGMENT and body.startswith(EXIF_NAME):
            exif.append(body[len(EXIF_NAME) :])
        elif (
            marker == MPF_SEGMENT
            and body.startswith(MPF_NAME)
            and (reason := exif_excess(body[len(MPF_NAME) :]))
        ):
            return reason
    return exif_excess(b"".join(exif))


# --- EXIF and TIFF ------------------------------------------------------------------------------

# Bytes of one value of each tag type; readers skip other types.
VALUE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    16: 8, 17: 8, 18: 8,
}  # fmt: skip
# Tags that point to further directories, which Pillow reads together with the first one.
EXIF_IFD, GPS_IFD, INTEROP_IFD = 34665, 34853, 40965
TILE_WIDTH, TILE_LENGTH, STRIP_OFFSETS, TILE_OFFSETS = 322, 323, 273, 324


@dataclass(frozen=True)
class _Entry:
    tag: int
    count: int
    # Bytes that the reader copies out of the file, and the first value as a number.
    size: int
    value: int


@dataclass(frozen=True)
class _TiffReader:
    content: bytes
    order: Literal["little", "big"]
    big: bool

    def first_directory(self) -> int:
        return self.number(8, 8) if self.big else self.number(4, 4)

    def number(self, position: int, size: int) -> int:
        return int.from_bytes(self.content[position : position + size], self.order)

    def layout(self) -> tuple[int, int, int]:
        """Bytes of a directory's header, of one entry, and of an entry's offset field."""
        return (8, 20, 8) if self.big else (2, 12, 4)

    def tags(self, offset: int) -> int:
        """The number of entries of a directory, limited to those that fit into the file."""
        header, width, _ = self.layout()
        fitting = max(0, len(self.content) - offset - header) // width
        return min(self.number(offset, header), fitting)

    def entries(self, offset: int) -> Iterator[_Entry]:
        header, width, field_size = self.layout()
        for position in range(offset + header, offset + header + width * self.tags(offset), width):
            kind = self.number(position + 2, 2)
            count = self.number(position + 4, field_size)
            start = position + 4 + field_size
            value_bytes = VALUE_BYTES.get(kind, 0)
            if value_bytes * count > field_size:
                start = self.number(start, field_size)
            size = max(0, min(value_bytes * count, len(self.content) - start))
            yield _Entry(self.number(position, 2), count, size, self.number(start, value_bytes))


def _tiff_reader(content: bytes) -> _TiffReader | None:
    if content[:2] not in (b"II", b"MM"):
        return None
    # Like Pillow, which does not recognize a big-endian BigTIFF.
    big = content[2:3] == b"\x2b"
    return _TiffReader(content, "little" if content[:2] == b"II" else "big", big)


def exif_excess(exif: bytes) -> str | None:
    """Why a block of EXIF data needs too much work, or None."""
    if len(exif) > MAX_EXIF_BYTES:
        return f"has more than {MAX_EXIF_BYTES} bytes of EXIF data"
    if exif.startswith(EXIF_NAME * 3):
        # Pillow removes one prefix after the other and copies the rest each time.
        return "repeats the name of its EXIF data too often"
    while exif.startswith(EXIF_NAME):
        exif = exif[len(EXIF_NAME) :]
    reader = _tiff_reader(exif)
    if reader is None:
        return None
    return _directories_excess(reader, [reader.first_directory()], EXIF_OVERLAP * len(exif))


def _directories_excess(reader: _TiffReader, offsets: list[int], budget: int) -> str | None:
    """Follow the directories from `offsets`; their data must not exceed `budget` bytes in total."""
    visited: set[int] = set()
    while offsets:
        offset = offsets.pop()
        if offset in visited:
            continue
        visited.add(offset)
        if len(visited) > MAX_DIRECTORIES or reader.tags(offset) > MAX_DIRECTORY_TAGS:
            return "has more metadata tags than any camera writes"
        for entry in reader.entries(offset):
            budget -= entry.size
            if entry.tag in (EXIF_IFD, GPS_IFD, INTEROP_IFD):
                offsets.append(entry.value)
        if budget < 0:
            return "has metadata tags that share their data, which no camera writes"
    return None


def _tiff_excess(content: bytes) -> str | None:
    reader = _tiff_reader(content)
    if reader is None or content.startswith(b"MM\x00\x2b"):
        return "is a big-endian BigTIFF"
    first = reader.first_directory()
    if reader.tags(first) > MAX_DIRECTORY_TAGS:
        return "has more TIFF tags than any camera writes"
    entries = list(reader.entries(first))
    tags = {entry.tag: entry for entry in entries}
    if len(tags) < len(entries):
        # Pillow and libtiff would each use a different one of them.
        return "has the same TIFF tag twice"
    if sum(entry.size for entry in entries) > len(content):
        return "has TIFF tags that share their data"
    for tag in (STRIP_OFFSETS, TILE_OFFSETS):
        if tag in tags and tags[tag].count > MAX_TIFF_STRIPS:
            return f"has more than {MAX_TIFF_STRIPS} strips or tiles"
    if {TILE_WIDTH, TILE_LENGTH} <= tags.keys():
        pixels = tags[TILE_WIDTH].value * tags[TILE_LENGTH].value
        if pixels > MAX_TIFF_TILE_PIXELS:
            return f"has tiles of more than {MAX_TIFF_TILE_PIXELS // 1_000_000} million pixels"
    further = [tags[tag].value for tag in (EXIF_IFD, GPS_IFD, INTEROP_IFD) if tag in tags]
    return _directories_excess(reader, further, min(EXIF_OVERLAP * len(content), MAX_EXIF_BYTES))


# --- AVIF and HEIC ------------------------------------------------------------------------------

Span = tuple[int, int]

# Pictures that are composed of other items, and pictures that are coded on their own.
DERIVED = {b"grid", b"iden", b"iovl", b"tmap"}
CODED = {b"av01", b"hvc1", b"hev1"}

UNIQUE_BOXES = {b"meta", b"moov", b"pitm", b"iinf", b"iloc", b"iprp", b"iref", b"idat", b"ipco"}

AV1_SEQUENCE_HEADER, AV1_FRAME_HEADER, AV1_FRAME = 1, 3, 6
HEVC_LAST_PICTURE_TYPE = 31

# Up to this version, the item number in an entry has two bytes.
LAST_SHORT_INFE = 2


@dataclass
class _Item:
    """One item of a HEIF file: a picture, or data about one."""

    kind: bytes = b""
    size: Span = (0, 0)
    # Bytes of the length prefix of each unit of HEVC data.
    prefix: int = 4
    extents: list[Span] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    belongs_to: list[int] = field(default_factory=list)


class _ExcessError(Exception):
    """Why a file needs too much work."""


def _heif_excess(content: bytes) -> str | None:
    try:
        return _heif_file_excess(content)
    except _ExcessError as reason:
        return str(reason)


def _heif_file_excess(content: bytes) -> str | None:
    top = _unique_boxes(content, (0, len(content)))
    items: dict[int, _Item] = {}
    pixels = 0
    if b"meta" in top:
        begin, end = top[b"meta"]
        inner = _unique_boxes(content, (begin + 4, end))
        items = _items(content, inner)
        for item in items.values():
            if item.kind == b"Exif":
                # Four bytes say where the EXIF data begins after them.
                data = b"".join(content[slice(*extent)] for extent in item.extents)
                reason = exif_excess(data[4 + _number(data, 0, 4) :])
                if reason:
                    return reason
        primary = _primary(content, inner)
        known: dict[int, int] = {}
        pixels = _pixels(content, items, primary, known)
        shown = set(known)
        for number, item in items.items():
            if item.kind in CODED | DERIVED and not shown.isdisjoint(item.belongs_to):
                pixels += _pixels(content, items, number, known)
    if b"moov" in top:
        pixels += sum(
            _av1_pixels(content[slice(*sample)], (0, 0))
            for sample in _first_samples(content, top[b"moov"])
        )
    if pixels > MAX_CODED_PIXELS:
        return (
            f"takes the decoder through {pixels // 1_000_000} million pixels, more than "
            f"{MAX_CODED_PIXELS // 1_000_000} million"
        )
    return None


def _boxes(content: bytes, begin: int, end: int) -> Iterator[tuple[bytes, Span]]:
    """The sibling boxes between two offsets, as (kind, span of the content)."""
    end = min(end, len(content))
    for _ in range(MAX_BOXES):
        if begin + 8 > end:
            return
        size, header = _number(content, begin, 4), 8
        if size == 1:
            size, header = _number(content, begin + 8, 8), 16
        elif size == 0:
            size = end - begin
        if size < header:
            return
        yield content[begin + 4 : begin + 8], (begin + header, min(begin + size, end))
        begin += size
    raise _ExcessError(f"has more than {MAX_BOXES} boxes")


def _unique_boxes(content: bytes, span: Span) -> dict[bytes, Span]:
    """The sibling boxes by kind; refuses duplicates, which different readers treat differently."""
    found: dict[bytes, Span] = {}
    for kind, inner in _boxes(content, *span):
        if kind in found and kind in UNIQUE_BOXES:
            raise _ExcessError(f"has the box '{kind.decode()}' twice")
        found[kind] = inner
    return found


def _primary(content: bytes, inner: dict[bytes, Span]) -> int:
    if b"pitm" not in inner:
        return 0
    begin = inner[b"pitm"][0]
    return _number(content, begin + 4, 4 if content[begin : begin + 1] > b"\0" else 2)


def _items(content: bytes, inner: dict[bytes, Span]) -> dict[int, _Item]:
    items: dict[int, _Item] = {}
    if b"iinf" in inner:
        begin, end = inner[b"iinf"]
        first = begin + (6 if _number(content, begin, 1) == 0 else 8)
        for kind, (position, _) in _boxes(content, first, end):
            if kind == b"infe":
                wide = 4 if _number(content, position, 1) > LAST_SHORT_INFE else 2
                number = _number(content, position + 4, wide)
                position += 4 + wide + 2
                if number in items or len(items) == MAX_ITEMS:
                    raise _ExcessError(f"has an item twice, or more than {MAX_ITEMS} of them")
                items[number] = _Item(kind=content[position : position + 4])
    if b"iloc" in inner:
        _add_extents(content, inner, items)
    if b"iprp" in inner:
        _add_properties(content, inner[b"iprp"], items)
    if b"iref" in inner:
        _add_references(content, inner[b"iref"], items)
    return items


def _add_extents(content: bytes, inner: dict[bytes, Span], items: dict[int, _Item]) -> None:
    begin, end = inner[b"iloc"]
    version = _number(content, begin, 1)
    sizes = _number(content, begin + 4, 2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    wide = 4 if version > 1 else 2
    count, position = _number(content, begin + 6, wide), begin + 6 + wide
    if count > MAX_ITEMS:
        raise _ExcessError(f"has more than {MAX_ITEMS} items")
    for _ in range(count):
        if position >= end:
            return
        number = _number(content, position, wide)
        position += wide
        method = 0
        if version:
            method = _number(content, position, 2) & 15
            position += 2
        position += 2
        base = _number(content, position, base_size)
        position += base_size
        extents = _number(content, position, 2)
        position += 2
        if method == 1:
            base += inner[b"idat"][0] if b"idat" in inner else len(content)
        if extents > MAX_ITEM_UNITS:
            raise _ExcessError("has an item in more pieces than any camera writes")
        for _ in range(extents):
            if position >= end:
                return
            position += index_size
            offset = base + _number(content, position, offset_size)
            position += offset_size
            length = _number(content, position, length_size)
            position += length_size
            if number in items:
                stop = offset + length if length else len(content)
                items[number].extents.append((offset, min(stop, len(content))))
    extents = [extent for item in items.values() for extent in item.extents]
    if sum(max(0, stop - start) for start, stop in extents) > 2 * len(content):
        raise _ExcessError("has items that share their data")


def _add_properties(content: bytes, span: Span, items: dict[int, _Item]) -> None:
    inside = list(_boxes(content, *span))
    properties = [
        found for kind, span in inside if kind == b"ipco" for found in _boxes(content, *span)
    ]
    for kind, (begin, end) in inside:
        if kind != b"ipma":
            continue
        wide = 4 if _number(content, begin, 1) else 2
        index_size = 2 if _number(content, begin + 3, 1) & 1 else 1
        position, count = begin + 8, _number(content, begin + 4, 4)
        if count > MAX_ITEMS:
            raise _ExcessError(f"has more than {MAX_ITEMS} items")
        for _ in range(count):
            if position >= end:
                break
            item = items.get(_number(content, position, wide))
            several = _number(content, position + wide, 1)
            position += wide + 1
            for _ in range(several):
                # The highest bit says that the property is essential.
                index = _number(content, position, index_size) & (
                    0x7FFF if index_size > 1 else 0x7F
                )
                position += index_size
                if item is None or not 0 < index <= len(properties):
                    continue
                name, (first, _) = properties[index - 1]
                if name == b"ispe":
                    found = _number(content, first + 4, 4), _number(content, first + 8, 4)
                    item.size = max(item.size, found, key=_area)
                elif name == b"hvcC":
                    item.prefix = (_number(content, first + 21, 1) & 3) + 1


def _add_references(content: bytes, span: Span, items: dict[int, _Item]) -> None:
    begin, end = span
    wide = 4 if _number(content, begin, 1) else 2
    for kind, (position, stop) in _boxes(content, begin + 4, end):
        item = items.get(_number(content, position, wide))
        count = _number(content, position + wide, 2)
        position += wide + 2
        positions = range(position, min(position + count * wide, stop), wide)
        numbers = [_number(content, position, wide) for position in positions]
        if item is not None and kind == b"dimg":
            item.parts += numbers
        elif item is not None and kind == b"auxl":
            item.belongs_to += numbers


def _pixels(
    content: bytes, items: dict[int, _Item], number: int, known: dict[int, int], depth: int = 0
) -> int:
    """The number of pixels decoded to show one item; repeated parts count each time."""
    if number in known or number not in items:
        return known.get(number, 0)
    item = items[number]
    if item.kind in CODED:
        data = b"".join(content[slice(*extent)] for extent in item.extents)
        if item.kind == b"av01":
            pixels = _av1_pixels(data, item.size)
        else:
            pixels = _area(item.size) * _hevc_slices(data, item.prefix)
    elif item.kind not in DERIVED:
        kind = item.kind.decode("ascii", "replace")
        raise _ExcessError(f"contains a picture of kind {kind!r}, not AV1 or HEVC")
    elif depth == MAX_ITEM_DEPTH:
        raise _ExcessError("nests parts of parts too deeply")
    else:
        pixels = sum(
            times * _pixels(content, items, part, known, depth + 1)
            for part, times in Counter(item.parts).items()
        )
    known[number] = pixels
    return pixels


def _hevc_slices(data: bytes, prefix: int) -> int:
    """The number of slices of HEVC data; each slice can cover the whole picture."""
    position, units, slices = 0, 0, 0
    while position + prefix < len(data):
        units += 1
        if units > MAX_ITEM_UNITS:
            raise _ExcessError("has a picture in more units than any camera writes")
        length = _number(data, position, prefix)
        slices += data[position + prefix] >> 1 & 63 <= HEVC_LAST_PICTURE_TYPE
        position += prefix + length
    return slices


def _av1_pixels(data: bytes, declared: Span) -> int:
    """Pixels of all frames of AV1 data, hidden ones too; a frame has at least `declared` size."""
    position, units, frames, size = 0, 0, 0, declared
    while position < len(data):
        units += 1
        if units > MAX_ITEM_UNITS:
            raise _ExcessError("has a picture in more units than any camera writes")
        header = data[position]
        kind, extended, sized = header >> 3 & 15, header >> 2 & 1, header >> 1 & 1
        position += 1 + extended
        length = len(data) - position
        if sized:
            length, position = _leb128(data, position)
        if kind == AV1_SEQUENCE_HEADER:
            size = max(size, _av1_size(data[position : position + 64]), key=_area)
        frames += kind in (AV1_FRAME_HEADER, AV1_FRAME)
        position += length
    return frames * _area(size)


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    """A LEB128 integer (up to eight bytes with seven bits each), and the position after it."""
    number = 0
    for index, byte in enumerate(data[position : position + 8]):
        number |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return number, position + index + 1
    return number, position + 8


def _av1_size(header: bytes) -> Span:
    """The maximum frame size in an AV1 sequence header (AV1 specification, section 5.5.1)."""
    bits = _Bits(header)
    bits.skip(4)
    decoder_model, delay_bits, display_delay = 0, 0, 0
    if bits.read(1):
        bits.skip(5)
    else:
        if bits.read(1):
            bits.skip(64)
            if bits.read(1):
                bits.skip_exp_golomb()
            decoder_model = bits.read(1)
            if decoder_model:
                delay_bits = bits.read(5) + 1
                bits.skip(32 + 10)
        display_delay = bits.read(1)
        for _ in range(bits.read(5) + 1):
            bits.skip(12)
            highest_without_tier = 7
            if bits.read(5) > highest_without_tier:
                bits.skip(1)
            if decoder_model and bits.read(1):
                bits.skip(2 * delay_bits + 1)
            if display_delay and bits.read(1):
                bits.skip(4)
    across, down = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(across) + 1, bits.read(down) + 1


class _Bits:
    """A reader of single bits, most significant first; past the end all bits are zero."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        shifted = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return shifted & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        self._left -= count

    def skip_exp_golomb(self) -> None:
        zeros = 0
        while self._left > 0 and not self.read(1):
            zeros += 1
        self.skip(zeros)


def _first_samples(content: bytes, movie: Span) -> Iterator[Span]:
    """The span of the first picture of each track of an animation."""
    tracks = [span for kind, span in _boxes(content, *movie) if kind == b"trak"]
    if len(tracks) > MAX_TRACKS:
        raise _ExcessError(f"has more than {MAX_TRACKS} tracks")
    for track in tracks:
        span: Span | None = track
        for name in (b"mdia", b"minf", b"stbl"):
            span = dict(_boxes(content, *span)).get(name) if span else None
        tables = dict(_boxes(content, *span)) if span else {}
        wide = 8 if b"co64" in tables else 4
        chunks, sizes = tables.get(b"co64") or tables.get(b"stco"), tables.get(b"stsz")
        if chunks and sizes:
            begin = _number(content, chunks[0] + 8, wide)
            fixed = _number(content, sizes[0] + 4, 4)
            yield begin, begin + (fixed or _number(content, sizes[0] + 12, 4))


def _area(size: Span) -> int:
    return size[0] * size[1]


def _number(content: bytes, position: int, size: int) -> int:
    return int.from_bytes(content[position : position + size], "big")
