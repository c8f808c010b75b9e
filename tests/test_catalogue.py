"""The catalogue offers what can be named, and claims nothing it does not know."""

from vit_demo.checkpoints.catalogue import catalogue
from vit_demo.checkpoints.reference import parse


def test_every_entry_can_be_asked_for_and_stands_once():
    refs = [entry.ref for entry in catalogue()]
    assert refs[0] == "flowers"
    assert len(set(refs)) == len(refs)
    for ref in refs:
        parse(ref)


def test_an_unknown_licence_is_called_unknown():
    titles = {entry.ref: entry.title for entry in catalogue()}
    assert "apache-2.0" in titles["MaulikMadhavi/vit-base-flowers102"]
    assert "licence unknown" in titles["karlischan/flower-classifier"]
