"""What cannot be read is left out and said; copies across a split are found."""

import pytest
from PIL import Image

from vit_demo.errors import DataError
from vit_demo.training.data import Split, scan
from vit_demo.training.inspection import check, fingerprint


@pytest.fixture
def three(tmp_path, noise_photo):
    """Two classes of four different photos each."""
    for number, label in enumerate(("daisy", "roses")):
        (tmp_path / label).mkdir()
        for photo in range(4):
            noise_photo(40, 30, seed=10 * number + photo).save(tmp_path / label / f"{photo}.png")
    return tmp_path


def split_of(folder):
    samples = scan(folder).samples
    return Split(("daisy", "roses"), samples[:3] + samples[4:7], (samples[3], samples[7]))


def test_what_cannot_be_read_is_left_out_and_reported(three):
    (three / "daisy" / "1.png").write_bytes(b"no photo")
    checked = check(split_of(three))
    [(path, why)] = checked.unreadable
    assert path == three / "daisy" / "1.png"
    assert "is not a picture" in why
    assert path not in [sample[0] for sample in checked.split.training]
    assert len(checked.split.training) == 5
    assert checked.duplicates == ()


def test_a_class_without_a_readable_photo_on_one_side_is_refused(three):
    (three / "roses" / "3.png").write_bytes(b"no photo")
    with pytest.raises(DataError, match="No photo of the class 'roses' can be read on one side"):
        check(split_of(three))


def test_a_copy_on_the_other_side_is_found_though_scaled_and_saved_again(three):
    original = Image.open(three / "roses" / "1.png")
    original.resize((80, 60), Image.Resampling.BICUBIC).save(three / "roses" / "3.png", "JPEG")
    checked = check(split_of(three))
    assert checked.duplicates == ((three / "roses" / "3.png", three / "roses" / "1.png"),)


def test_fingerprints_of_different_photos_differ(noise_photo):
    assert len({fingerprint(noise_photo(40, 30, seed)) for seed in range(50)}) == 50
