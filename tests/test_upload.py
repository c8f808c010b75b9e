"""Publishing: the genuine client, a Hub on this machine, and the same logits on the way back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_driver import Driver, closed_port, one_sentence
from loopback_hub import GOOD_TOKEN, OWNER, LoopbackHub, Repo

from vit_demo.errors import PublishError
from vit_demo.publishing.upload import check_folder

CARD = "---\npipeline_tag: image-classification\n---\n# Five flowers\n"
# The loopback Hub speaks LFS and no Xet, which the client would choose where it can.
LOGGED_IN = {"HF_TOKEN": GOOD_TOKEN, "HF_HUB_DISABLE_XET": "1"}
Result = dict[str, Any]


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.stop()


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture
def folder(our_checkpoint: Path) -> Path:
    """A checkpoint with all that is published, and two things that are not."""
    (our_checkpoint / "README.md").write_text(CARD)
    (our_checkpoint / "training.json").write_text('{"minutes": 3}')
    (our_checkpoint / "notes.txt").write_text("for me alone")
    (our_checkpoint / "pytorch_model.bin").write_bytes(b"a pickle")
    return our_checkpoint


@pytest.fixture
def publish(driver: Driver, hub: LoopbackHub, folder: Path, tmp_path: Path) -> Callable[..., Any]:
    def publish(name: str = f"{OWNER}/flowers", env: dict[str, str] = LOGGED_IN, **options: Any):
        endpoint = options.pop("endpoint", hub.endpoint)
        call = ("publish", {"folder": str(folder), "name": name, **options})
        return driver.calls(endpoint, tmp_path, call, **env)[0]

    return publish


def test_what_is_published_comes_back_with_the_same_logits(publish, driver, hub, folder, tmp_path):
    done = publish()
    there = hub.repos[f"{OWNER}/flowers"]
    assert done["address"] == f"{hub.endpoint}/{OWNER}/flowers"
    assert done["commit"] == there.commit
    fetched, own = (
        driver.calls(hub.endpoint, tmp_path, ("logits", {"reference": reference}))[0]
        for reference in (f"{OWNER}/flowers@{done['commit']}", str(folder))
    )
    assert fetched["logits"] == own["logits"]
    assert fetched["labels"] == own["labels"]
    assert fetched["revision"] == done["commit"]
    assert len(set(own["logits"])) == 5


def test_it_is_one_commit_with_the_files_of_the_checkpoint(publish, hub, folder):
    done = publish()
    there = hub.repos[f"{OWNER}/flowers"]
    assert there.commits == [sorted(done["files"])]
    assert set(done["files"]) == {
        "README.md", "config.json", "model.safetensors", "preprocessor_config.json",
        "training.json",
    }  # fmt: skip
    assert done["left_here"] == ["notes.txt", "pytorch_model.bin"]
    for name in done["files"]:
        assert there.files[name] == (folder / name).read_bytes()
    assert not there.private


def test_a_private_repository_is_visible_only_to_its_owner(publish, driver, hub, tmp_path):
    assert "commit" in publish(private=True)
    there = hub.repos[f"{OWNER}/flowers"]
    assert there.private
    call = ("logits", {"reference": there.name})
    assert driver.calls(hub.endpoint, tmp_path, call)[0]["error"] == "NotFoundError"
    assert "logits" in driver.calls(hub.endpoint, tmp_path, call, **LOGGED_IN)[0]


def test_publishing_again_sends_only_changed_files(publish, hub, folder):
    first = publish()
    assert publish()["commit"] == first["commit"]
    (folder / "README.md").write_text(CARD + "Better.\n")
    second = publish()
    there = hub.repos[f"{OWNER}/flowers"]
    assert second["commit"] == there.commit != first["commit"]
    assert there.commits == [sorted(first["files"]), ["README.md"]]
    uploads = [request for request in hub.log if request.path.startswith("/upload/")]
    assert len(uploads) == 1


def test_the_command_prints_the_address_and_the_commit(hub, folder, tmp_path):
    command = [sys.executable, "-m", "vit_demo", "publish", str(folder), f"{OWNER}/flowers"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_ENDPOINT": hub.endpoint}
    run = {"capture_output": True, "text": True, "cwd": Path(__file__).parents[1], "check": False}
    done = subprocess.run(command, env=environment | LOGGED_IN, **run)
    commit = hub.repos[f"{OWNER}/flowers"].commit
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{hub.endpoint}/{OWNER}/flowers at {commit}\n"
    assert done.stderr == "Not uploaded: notes.txt, pytorch_model.bin\n"
    anonymous = subprocess.run(command, env=environment, **run)
    assert (anonymous.returncode, anonymous.stdout) == (2, "")
    assert anonymous.stderr.count("\n") == 1
    assert "needs an access token" in anonymous.stderr


def test_a_token_that_was_stored_by_logging_in_is_used(publish, hub, tmp_path):
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(GOOD_TOKEN)
    assert "commit" in publish(env={"HF_HUB_DISABLE_XET": "1"})
    assert {request.token for request in hub.log if request.method == "POST"} == {GOOD_TOKEN}


# Refused, in a sentence


def test_without_a_token_no_request_is_sent(publish, hub):
    one_sentence(
        publish(env={}), "AccessError", "needs an access token", "hf auth login", "HF_TOKEN"
    )
    assert hub.log == []


def test_a_refused_token_is_reported(publish):
    result = publish(env=LOGGED_IN | {"HF_TOKEN": "hf_old"})
    one_sentence(result, "AccessError", "refuses the access token", "hf auth login")


def test_the_name_of_another_owner_is_refused(publish, hub):
    one_sentence(publish("bob/flowers"), "AccessError", "may not write", "bob/flowers", "'bob'")
    hub.add("bob/roses", {"config.json": b"{}"})
    one_sentence(publish("bob/roses"), "AccessError", "may not write", "bob/roses")
    assert "bob/flowers" not in hub.repos


def test_a_name_in_use_by_another_repository_type_is_refused(publish, hub):
    hub.taken.add(f"{OWNER}/flowers")
    one_sentence(publish(), "PublishError", "in use", "another type", "choose another name")


def test_a_repository_with_another_task_is_not_changed(publish, hub):
    there: Repo = hub.add(
        f"{OWNER}/flowers", {"README.md": b"talk"}, pipeline_tag="text-generation"
    )
    one_sentence(publish(), "PublishError", "another task (text-generation)", "another name")
    assert there.files == {"README.md": b"talk"}


@pytest.mark.parametrize("name", ["flowers", "https://huggingface.co/ann/flowers", "ann/a b"])
def test_an_invalid_name_is_refused(publish, hub, name):
    one_sentence(publish(name), "CheckpointError", "owner/name")
    assert hub.log == []


def test_a_missing_network_is_reported_at_once(publish):
    result = publish(endpoint=f"http://127.0.0.1:{closed_port()}")
    one_sentence(result, "UnreachableError", "refuses connections", "was not published")
    assert result["seconds"] < 10


def test_offline_mode_is_reported(publish, hub):
    result = publish(env=LOGGED_IN | {"HF_HUB_OFFLINE": "1"})
    one_sentence(result, "UnreachableError", "HF_HUB_OFFLINE is set", "unset it")
    assert hub.log == []


def test_a_server_error_is_reported(publish, hub):
    hub.add(f"{OWNER}/flowers", {}, api_status=500)
    one_sentence(publish(), "UnreachableError", "answered 500", "was not published")


def test_a_card_that_the_hub_refuses_is_refused_before_anything_is_uploaded(publish, hub):
    hub.card_fault = '"license" must be one of many'
    one_sentence(publish(), "PublishError", "Invalid metadata", '"license" must be one of many')
    assert hub.blobs == {}


def test_an_interrupted_upload_leaves_no_commit(publish, hub):
    hub.upload_status = 403
    one_sentence(publish(), "AccessError", "may not write")
    assert hub.repos[f"{OWNER}/flowers"].commits == []


def test_an_unavailable_xet_server_is_reported(publish, hub):
    result = publish(env={"HF_TOKEN": GOOD_TOKEN})
    one_sentence(result, "UnreachableError", "was interrupted", "404", "HF_HUB_DISABLE_XET=1")
    assert hub.repos[f"{OWNER}/flowers"].commits == []


# The folder, before anything else


def test_a_complete_folder_passes(folder):
    assert check_folder(folder)[0] == "README.md"


@pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors"])
def test_missing_files_are_reported(folder, name):
    (folder / name).unlink()
    with pytest.raises(PublishError, match=f"has no {name}"):
        check_folder(folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(PublishError, match="There is no folder"):
        check_folder(tmp_path / "gone")


def test_a_checkpoint_that_does_not_load_is_refused(folder, hub):
    (folder / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(Exception, match=r"model.safetensors is damaged"):
        check_folder(folder)


def test_classes_without_names_are_refused(folder):
    content = json.loads((folder / "config.json").read_text())
    content["id2label"] = {str(index): f"LABEL_{index}" for index in range(5)}
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(PublishError, match="does not name its 5 classes"):
        check_folder(folder)


def test_an_empty_card_is_refused(folder):
    (folder / "README.md").write_text(" \n")
    with pytest.raises(PublishError, match="is empty"):
        check_folder(folder)
