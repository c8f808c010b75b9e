"""What a person writes: a bundled name first, then a path, then a Hub id."""

import pytest

from vit_demo.checkpoints.catalogue import BUNDLED_FOLDER, bundled
from vit_demo.checkpoints.hub import HubReference
from vit_demo.checkpoints.reference import parse
from vit_demo.errors import CheckpointError, NotFoundError


def test_the_bundled_names_are_the_folders():
    assert bundled() == ["flowers"]
    assert parse("flowers") == BUNDLED_FOLDER / "flowers"


def test_a_path_that_exists_goes_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse("owner/name") == HubReference("owner/name")
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert parse("owner/name").is_dir()


def test_a_revision_is_read():
    assert parse("owner/name@v1") == HubReference("owner/name", "v1")
    with pytest.raises(CheckpointError, match="is not a revision"):
        parse("owner/name@")


def test_without_paths_the_disk_is_never_looked_at(tmp_path, monkeypatch):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert parse("owner/name", paths=False) == HubReference("owner/name")
    assert parse("flowers", paths=False) == BUNDLED_FOLDER / "flowers"
    for ref in (str(tmp_path), "owner", ".", "../owner"):
        with pytest.raises(NotFoundError, match="no bundled checkpoint and no Hub id"):
            parse(ref, paths=False)


@pytest.mark.parametrize(
    "ref", ["", "flower", "/no/such/folder", "a/b/c", "../gone", "a" * 5000, "null\0byte"]
)
def test_what_is_none_of_them_is_refused(ref):
    with pytest.raises(NotFoundError, match="no existing folder and no Hub id.*owner/name"):
        parse(ref)


def test_a_misspelt_bundled_name_is_recognised():
    with pytest.raises(NotFoundError, match="did you mean 'flowers'"):
        parse("flower")


@pytest.mark.parametrize(
    ("pasted", "meant"),
    [
        ("https://huggingface.co/ann/flowers", "ann/flowers"),
        ("http://www.huggingface.co/ann/flowers/", "ann/flowers"),
        ("huggingface.co/ann/flowers?library=timm", "ann/flowers"),
        ("https://huggingface.co/ann/flowers/tree/main", "ann/flowers"),
        ("https://huggingface.co/ann/flowers/tree/v2/sub", "ann/flowers@v2"),
        ("https://huggingface.co/ann/flowers/blob/main/config.json", "ann/flowers"),
        ("https://hf.co/ann/flowers#how", "ann/flowers"),
        ("hf-hub:timm/vit_tiny_patch16_224.augreg_in21k", "timm/vit_tiny_patch16_224.augreg_in21k"),
        ("hf_hub:ann/flowers@v2", "ann/flowers@v2"),
        (" ann/flowers ", "ann/flowers"),
    ],
)
def test_an_address_is_read_as_what_it_shows(pasted, meant):
    assert str(parse(pasted)) == meant


def test_an_address_elsewhere_is_refused():
    with pytest.raises(NotFoundError):
        parse("https://example.org/ann/flowers")
