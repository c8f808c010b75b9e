"""Training from the command line: what is refused, what is kept, and Ctrl-C at any moment."""

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def photos(tmp_path, noise_photo):
    """Few photos to learn from, and many to be scored on."""
    for part, count in (("train", 4), ("val", 150)):
        for number, label in enumerate(("daisy", "roses")):
            (tmp_path / "photos" / part / label).mkdir(parents=True)
            for photo in range(count):
                picture = noise_photo(32, 32, seed=1000 * number + photo + len(part))
                picture.save(tmp_path / "photos" / part / label / f"{photo}.png")
    return tmp_path / "photos"


@pytest.fixture
def asked(photos, our_checkpoint, tmp_path):
    return (
        "finetune", "--data", photos, "--weights", our_checkpoint, "--out", tmp_path / "out",
        "--image-size", 32, "--patch-size", 8, "--epochs", 1, "--head-epochs", 0,
        "--batch-size", 4, "--set", "workers=0", "--set", "bfloat16=false",
        "--licence", "cc-by-4.0", "--credit", "Ada",
    )  # fmt: skip


def interrupted(arguments, moment):
    """Ctrl-C in a process of its own, after a line begins so: its status and its last words."""
    with subprocess.Popen(
        [sys.executable, "-m", "vit_demo", *map(str, arguments)],
        stderr=subprocess.PIPE, text=True, cwd=ROOT,
        # Whoever began these tests in the background may be deaf to interrupts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        for line in process.stderr:
            if line.startswith(moment):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    return process.returncode, rest


def test_ctrl_c_is_one_word_and_its_own_status(photos, our_checkpoint):
    asked = ("evaluate", "--checkpoint", our_checkpoint, "--data", photos / "val")
    assert interrupted(asked, "photos: 30 of 300") == (130, "Stopped.\n")


def test_a_finished_run_is_neither_trained_nor_scored_again(run, asked, tmp_path):
    status, _, notes = run(*asked)
    assert (status, "of 300 held-out photos are named rightly" in notes) == (0, True)
    assert "scoring: 30 of 300\n" in notes
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.*")}
    status, _, error = run(*asked, "--seed", 7)
    assert (status, "holds a finished run; name another folder" in error) == (2, True)
    status, _, error = run("finetune", "--resume", "--out", tmp_path / "out")
    assert (status, "there is nothing to go on with" in error) == (2, True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.*")} == before


def test_scoring_that_was_stopped_is_gone_on_with_and_nothing_is_forgotten(run, asked, tmp_path):
    status, rest = interrupted(asked, "scoring: 30 of 300")
    assert status == 2
    assert "Stopped before the held-out photos were scored; finetune --resume --out" in rest
    out = tmp_path / "out"
    assert not (out / "README.md").exists()
    for option, value in (("--epochs", 9), ("--credit", "Bo"), ("--seed", 4)):
        status, _, error = run("finetune", "--resume", "--out", out, option, value)
        assert (status, f"{option} cannot be changed in the middle of a run" in error) == (2, True)
    status, _, _ = run("finetune", "--resume", "--out", out)
    assert status == 0
    for _ in range(2):
        card = (out / "README.md").read_text("utf-8")
        assert "license: cc-by-4.0" in card
        assert "**Credit.** Ada" in card
        status, _, _ = run(
            "evaluate", "--checkpoint", out, "--data", asked[2], "--held-out", "--card"
        )
        assert status == 0
    assert json.loads((out / "training.json").read_text())["credit"] == "Ada"
