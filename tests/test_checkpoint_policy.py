"""What a host offers is what visitors get, and no more, however they ask for it."""

import shutil

import pytest
import torch
from safetensors.torch import save

from vit_demo.checkpoints import works_offline
from vit_demo.checkpoints.catalogue import catalogue
from vit_demo.errors import AccessError, CheckpointError, NotFoundError, UnreachableError
from vit_demo.ui.checkpoint_policy import CheckpointPolicy

COMMIT = "c" * 40


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, no network, and a working folder in which nothing lies."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "cache"


@pytest.fixture
def cached(cache):
    """Put a whole checkpoint into the cache: (repository, configuration) → its reference."""

    def put(repo, config_json='{"architecture": "vit_tiny_patch16_224"}', weights="safetensors"):
        folder = cache / f"models--{repo.replace('/', '--')}"
        snapshot = folder / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(COMMIT)
        (snapshot / "config.json").write_text(config_json)
        name = "model.safetensors" if weights == "safetensors" else "pytorch_model.bin"
        (snapshot / name).write_bytes(save({"head.weight": torch.zeros(5, 3)}))
        return repo

    return put


def titles(policy, recent=()):
    return {ref: title for title, ref in policy.choices(recent)}


def test_on_ones_own_machine_a_folder_can_be_named(our_checkpoint):
    policy = CheckpointPolicy()
    assert policy.load(str(our_checkpoint), None).labels[0] == "daisy"
    assert policy.summary(str(our_checkpoint)).place == "on this machine"


@pytest.mark.parametrize("way", ["absolute", "relative", "up", "pth"])
def test_on_a_shared_page_no_folder_of_the_host_is_opened(our_checkpoint, tmp_path, way):
    shutil.copytree(our_checkpoint, tmp_path / "here" / "ours")
    (tmp_path / "here" / "flowers.pth").write_bytes(b"")
    ways = {"absolute": our_checkpoint, "relative": "ours", "up": "../ours", "pth": "flowers.pth"}
    shared = CheckpointPolicy(own_machine=False)
    for ask in (lambda ref: shared.load(ref, None), shared.summary):
        with pytest.raises(NotFoundError, match="is no bundled checkpoint and no Hub id"):
            ask(str(ways[way]))


def test_on_a_shared_page_a_folder_named_like_a_repository_is_not_taken_for_it(
    our_checkpoint, tmp_path
):
    shutil.copytree(our_checkpoint, tmp_path / "here" / "ann" / "flowers")
    assert CheckpointPolicy().summary("ann/flowers").place == "on this machine"
    shared = CheckpointPolicy(own_machine=False)
    assert shared.summary("ann/flowers") is None
    with pytest.raises(UnreachableError):
        shared.load("ann/flowers", None)


def test_the_hosts_own_choice_may_be_a_folder_on_every_page(our_checkpoint):
    policy = CheckpointPolicy(str(our_checkpoint), any_checkpoint=False, own_machine=False)
    assert policy.load(str(our_checkpoint), None).labels[0] == "daisy"
    assert policy.choices()[0] == (str(our_checkpoint), str(our_checkpoint))


def test_a_page_with_a_catalogue_only_loads_nothing_else(cached):
    ref = cached("ann/flowers")
    policy = CheckpointPolicy(any_checkpoint=False)
    assert policy.load("flowers", None).ref == "flowers"
    for ask in (lambda ref: policy.load(ref, None), policy.summary):
        with pytest.raises(AccessError, match="is not on offer on this page"):
            ask(ref)
    assert ref not in titles(policy, recent=[ref])


def test_the_list_begins_with_the_default_and_what_was_used_and_holds_the_catalogue(cached):
    other = cached("ann/flowers")
    used = "google/vit-base-patch16-224"
    refs = [ref for _, ref in CheckpointPolicy().choices([used, "bob/recent"])]
    assert refs[:3] == ["flowers", used, "bob/recent"]
    assert set(refs) == {entry.ref for entry in catalogue()} | {"bob/recent", other}
    assert len(set(refs)) == len(refs)


def test_marks_say_what_works_offline_what_was_used_and_what_is_pickled(cached):
    cached("WinKawaks/vit-tiny-patch16-224")
    cached("facebook/deit-tiny-distilled-patch16-224", weights="pickle")
    cached("ann/bert", '{"model_type": "bert"}')
    marked = titles(CheckpointPolicy(), recent=["bob/recent", "flowers"])
    assert marked["flowers"].endswith("apache-2.0 · works offline")
    assert marked["WinKawaks/vit-tiny-patch16-224"].endswith("patch16-224 — works offline")
    assert marked["bob/recent"] == "bob/recent — used recently"
    pickled = marked["facebook/deit-tiny-distilled-patch16-224"]
    assert pickled.endswith("patch16-224 — pickled: needs --allow-pickle")
    assert "ann/bert" not in marked
    allowed = titles(CheckpointPolicy(allow_pickle=True))[
        "facebook/deit-tiny-distilled-patch16-224"
    ]
    assert allowed.endswith("works offline · pickled")


def test_a_shared_page_does_not_list_the_hosts_cache(cached):
    ref = cached("ann/private")
    assert ref in titles(CheckpointPolicy())
    assert ref not in titles(CheckpointPolicy(own_machine=False))


def test_pickles_are_opened_only_where_the_host_says_so(our_checkpoint):
    import torch
    from safetensors.torch import load_file

    tensors = load_file(our_checkpoint / "model.safetensors")
    (our_checkpoint / "model.safetensors").unlink()
    torch.save(tensors, our_checkpoint / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="--allow-pickle"):
        CheckpointPolicy().load(str(our_checkpoint), None)
    assert CheckpointPolicy(allow_pickle=True).load(str(our_checkpoint), None).labels[0] == "daisy"


def test_what_cannot_be_opened_is_not_said_to_work_offline(cached, cache):
    """Fetched whole, and of no use: other weights, no head, a processor or numbers without end."""
    fine = cached("ann/fine")
    cached("ann/garbage")
    garbage = cache / "models--ann--garbage" / "snapshots" / COMMIT / "model.safetensors"
    garbage.write_bytes(b"\xff" * 400)
    cached("ann/backbone", '{"model_type": "dinov2", "architectures": ["Dinov2Model"]}')
    cached("ann/brackets", "[" * 100_000)
    cached("ann/digits", '{"model_type": "vit", "hidden_size": ' + "9" * 6000 + "}")
    cached("ann/processor")
    processor = cache / "models--ann--processor" / "snapshots" / COMMIT
    (processor / "preprocessor_config.json").write_text("[" * 100_000)
    assert works_offline() == ["flowers", fine]


def test_no_message_of_a_shared_page_names_what_its_host_keeps(cached):
    ref = cached("ann/private")
    assert ref in CheckpointPolicy().offline()
    assert CheckpointPolicy(own_machine=False).offline() == ["flowers"]


def test_what_the_catalogue_calls_pickled_needs_the_hosts_leave():
    ref = "facebook/deit-tiny-distilled-patch16-224"
    assert CheckpointPolicy().needs_pickle(ref)
    assert not CheckpointPolicy(allow_pickle=True).needs_pickle(ref)
    assert not CheckpointPolicy().needs_pickle("google/vit-base-patch16-224")


def test_titles_are_in_the_language_that_is_asked_for():
    chinese = {ref: title for title, ref in CheckpointPolicy().choices(language="zh")}
    assert chinese["flowers"] == "flowers — 5 种花 · apache-2.0 · 可离线使用"


def test_only_what_is_on_offer_can_be_in_a_link():
    assert CheckpointPolicy().offered is None
    closed = CheckpointPolicy(any_checkpoint=False)
    assert closed.admits("flowers")
    assert not closed.admits("ann/poppies")
    assert closed.offered[0] == "flowers"
