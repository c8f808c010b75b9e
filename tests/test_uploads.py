"""A photo can be named by the session that it belongs to, and by no other."""

import os

import pytest

from vit_demo.errors import PhotoError
from vit_demo.ui.uploads import NOT_YOURS, Uploads


@pytest.fixture
def uploads(tmp_path):
    (tmp_path / "uploads").mkdir()
    return Uploads(tmp_path / "uploads")


@pytest.fixture
def arrive(tmp_path):
    def arrive(name="My holiday in Paris.JPG", content=b"photo"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return arrive


def refused(uploads, session, reference):
    with pytest.raises(PhotoError) as error:
        uploads.open_for(session, reference)
    return str(error.value) == NOT_YOURS


def test_an_upload_is_moved_to_a_name_that_tells_nothing(uploads, arrive):
    old = arrive()
    reference = uploads.adopt([old])[0]
    assert not old.exists()
    assert "Paris" not in reference
    assert reference.endswith("/photo.jpg")
    assert uploads.open_for("ann", {"path": reference}).read_bytes() == b"photo"


def test_equal_photos_of_two_visitors_are_two_files(uploads, arrive):
    first, second = uploads.adopt([arrive()])[0], uploads.adopt([arrive()])[0]
    assert first != second


@pytest.mark.parametrize("name", ["photo.<img>", "photo.jpgjpg", "photo", "photo.jpég", ".jpg"])
def test_only_a_plain_suffix_is_kept_of_a_name(uploads, arrive, name):
    assert uploads.adopt([arrive(name)])[0].endswith("/photo")


def test_it_belongs_to_the_first_session_that_names_it(uploads, arrive):
    reference = {"path": uploads.adopt([arrive()])[0]}
    assert uploads.open_for("ann", reference)
    assert refused(uploads, "eve", reference)
    assert uploads.open_for("ann", reference)


def test_a_preview_opens_the_photo_and_belongs_to_its_session(uploads, arrive):
    source = uploads.open_for("ann", {"path": uploads.adopt([arrive("photo.heic")])[0]})
    preview = {"path": uploads.add_preview(b"jpeg", "preview.jpg", source, "ann")}
    assert uploads.open_for("ann", preview) == source
    assert refused(uploads, "eve", preview)


def test_an_example_is_everybodys(uploads, arrive):
    uploads.add_example("/cache/dahlia.jpg", arrive("dahlia.jpg"))
    for session in ("ann", "eve"):
        assert uploads.open_for(session, {"path": "/cache/dahlia.jpg"}).name == "dahlia.jpg"


def test_all_that_was_not_issued_is_refused_in_one_sentence(uploads, arrive, tmp_path):
    own = uploads.adopt([arrive()])[0]
    uploads.open_for("ann", {"path": own})
    inside = tmp_path / "uploads"
    os.mkfifo(inside / "fifo")
    (inside / "link.jpg").symlink_to("/etc/passwd")
    (inside / "photo.jpg").write_bytes(b"not issued")
    folder, name = own.rsplit("/", 1)
    for path in (
        "/etc/passwd", "/dev/zero", "", ".", "..", "~", name, f"{folder}/./{name}", f"{own}/",
        f"{folder}/../{folder.rsplit('/', 1)[1]}/{name}", f"/{own}", folder, f"file://{own}",
        inside / "fifo", inside / "link.jpg", inside / "photo.jpg", inside, f"{own}\0",
        "http://127.0.0.1/photo.jpg", "data:image/png;base64,AAAA",
    ):  # fmt: skip
        assert refused(uploads, "ann", {"path": str(path)}), path
    for reference in (None, own, [own], {}, {"url": own}, {"path": None}, {"path": [own]}, 7):
        assert refused(uploads, "ann", reference)


def test_what_was_deleted_is_refused_and_forgotten(uploads, arrive):
    reference = uploads.adopt([arrive()])[0]
    path = uploads.open_for("ann", {"path": reference})
    path.unlink()
    assert refused(uploads, "ann", {"path": reference})
    other = uploads.adopt([arrive()])[0]
    assert set(uploads.issued) == {other}
    assert not path.parent.exists()


def test_a_file_that_was_replaced_by_a_device_is_refused(uploads, arrive):
    reference = uploads.adopt([arrive()])[0]
    path = uploads.open_for("ann", {"path": reference})
    path.unlink()
    os.mkfifo(path)
    assert refused(uploads, "ann", {"path": reference})
