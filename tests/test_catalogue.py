"""The catalogue offers what can be named, and claims nothing it does not know."""

from vit_demo.checkpoints.catalogue import bundled, catalogue
from vit_demo.checkpoints.reference import parse


def test_every_entry_can_be_asked_for_and_stands_once():
    refs = [entry.ref for entry in catalogue()]
    assert refs[0] == "flowers"
    assert len(set(refs)) == len(refs)
    for ref in refs:
        parse(ref)


def test_what_is_not_known_is_not_said():
    details = {entry.ref: entry.details for entry in catalogue()}
    assert details["MaulikMadhavi/vit-base-flowers102"][1:] == ("apache-2.0", "98.5 % reported")
    assert details["karlischan/flower-classifier"] == ("3 flowers",)
    assert details["WinKawaks/vit-tiny-patch16-224"] == ()


def test_bundled_checkpoints_are_in_it():
    assert set(bundled()) <= {entry.ref for entry in catalogue()}
