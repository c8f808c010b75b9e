"""Every export format can be read back; other suffixes are refused."""

import json

import pytest
from matplotlib.figure import Figure
from PIL import Image

from vit_demo.errors import OutputError
from vit_demo.figures import ColourScale, Sheet, draw_sheet
from vit_demo.figures.export import WRITERS, Document, check_suffix, write

NUMBERS = {"method": "rollout", "heatmap": [[0.25, 0.75]]}


@pytest.fixture
def sheet():
    photo = Image.new("RGB", (30, 40), (255, 255, 255))
    return Sheet(
        title="a_b $x$ <rose>",
        caption="one\n" + "many words " * 40,
        unit="share",
        photo=photo,
        overlay=photo,
        scale=ColourScale(0.0, 0.1, signed=False, clipped=1),
        classes=[("$rose$", 0.9), ("tulip", 0.1)],
    )


@pytest.fixture
def document(sheet):
    return Document(NUMBERS, lambda: draw_sheet(sheet))


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_a_sheet_is_written_in_the_format_of_its_suffix(document, tmp_path, suffix, start):
    path = tmp_path / f"sheet{suffix}"
    write(document, path)
    assert path.read_bytes().startswith(start)
    if suffix == ".png":
        with Image.open(path) as slide:
            assert slide.size == (1920, 1080)


def test_numbers_are_written_without_a_picture(tmp_path):
    def never() -> Figure:
        raise AssertionError("nobody wants the picture")

    write(Document(NUMBERS, never), tmp_path / "map.JSON")
    assert json.loads((tmp_path / "map.JSON").read_text("utf-8")) == NUMBERS


def test_an_unwritable_file_is_refused(document, tmp_path):
    with pytest.raises(OutputError, match=r"use \.json, \.png, \.svg, \.pdf"):
        write(document, tmp_path / "sheet.doc")
    for suffix in WRITERS:
        check_suffix(tmp_path / f"sheet{suffix}")
        with pytest.raises(OutputError, match="cannot be written"):
            write(document, tmp_path / "nowhere" / f"sheet{suffix}")
