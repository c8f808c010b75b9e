"""The command line: numbers, tables and files; status 2 and one line for a user's error."""

import json
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from vit_demo import explain, load, prepare
from vit_demo.checkpoints.calibration import Calibration, store_calibration
from vit_demo.training.distributed import bfloat16_is_faster_here

ROOT = Path(__file__).parents[1]


def test_json_equals_the_result_in_python(run, our_checkpoint, photo_file):
    status, out, err = run(
        "explain", photo_file, "--checkpoint", our_checkpoint, "--json", "--logits", "--top", "2",
        "--method", "legrad", "--option", "layers=2", "--target", "tulips",
    )  # fmt: skip
    expected = explain(load(str(our_checkpoint)), photo_file, "legrad", "tulips", {"layers": 2})
    assert (status, err) == (0, "")
    assert json.loads(out) == expected.as_json(top=2, logits=True)


def test_options_and_versus_are_read(run, our_checkpoint, photo_file):
    checkpoint = load(str(our_checkpoint))
    common = ("explain", photo_file, "--checkpoint", our_checkpoint)
    status, out, _ = run(
        *common, "--json", "--option", "fusion=max", "--option", "discard_ratio=0.5"
    )  # fmt: skip
    expected = explain(checkpoint, photo_file, options={"fusion": "max", "discard_ratio": 0.5})
    assert status == 0
    assert json.loads(out) == expected.as_json()
    status, out, _ = run(
        *common, "--json", "--method", "relevance", "--target", "roses", "--versus", "tulips"
    )
    expected = explain(checkpoint, photo_file, "relevance", "roses", versus="tulips")
    assert status == 0
    assert json.loads(out) == expected.as_json()
    status, out, _ = run(*common, "--method", "legrad", "--target", "0", "--versus", "1")
    assert status == 0
    assert "legrad for daisy compared with dandelion on 4 × 4 patches" in out


def test_unsupported_methods_are_listed_with_the_reason(run, tmp_path):
    from test_transformers import theirs

    theirs(tmp_path, "MobileViT")
    status, out, _ = run("methods", "--checkpoint", tmp_path, "--json")
    assert status == 0
    rows = {row["name"]: row for row in json.loads(out)["methods"]}
    assert [name for name, row in rows.items() if not row["fits"]] == ["legrad", "evidence"]
    assert "convolutions" in rows["legrad"]["why_not"]
    assert rows["relevance"]["exact"] is False
    assert rows["occlusion"]["options"] == {"hide": "blur", "block": 2}
    status, out, _ = run("methods", "--checkpoint", tmp_path)
    assert status == 0
    assert "Not supported" in out


def test_the_table_lists_the_top_classes(run, our_checkpoint, photo_file):
    status, out, _ = run("explain", photo_file, "--checkpoint", our_checkpoint, "--top", "3")
    best = explain(load(str(our_checkpoint)), photo_file).predictions[:3]
    assert status == 0
    assert all(p.label in out and f"{p.probability:.2%}" in out for p in best)
    assert "rollout on 4 × 4 patches" in out


def test_an_unsure_prediction_has_a_note(run, our_checkpoint, photo_file):
    arguments = ("explain", photo_file, "--checkpoint", our_checkpoint)
    assert "Unsure" not in run(*arguments)[1]
    store_calibration(our_checkpoint, Calibration(50.0, 0.9))
    assert "Unsure: the most likely class has only" in run(*arguments)[1]
    assert json.loads(run(*arguments, "--json")[1])["unsure"] is True


@pytest.fixture
def sorted_photos(our_checkpoint, tmp_path, noise_photo):
    """Twelve photos in the folder of their top class, but every third in that of the second."""
    checkpoint = load(str(our_checkpoint))
    for number in range(12):
        photo = noise_photo(40, 36, seed=number)
        label = explain(checkpoint, photo).predictions[int(number % 3 == 0)].label
        (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
        photo.save(tmp_path / "photos" / label / f"{number:02}.png")
    (tmp_path / "photos" / "orchids").mkdir()
    noise_photo(20, 20).save(tmp_path / "photos" / "orchids" / "a.png")
    return tmp_path / "photos"


def test_evaluate_prints_and_saves_the_same_numbers(run, our_checkpoint, sorted_photos, tmp_path):
    asked = ("evaluate", "--checkpoint", our_checkpoint, "--data", sorted_photos)
    status, words, notes = run(*asked, "--out", tmp_path / "figures")
    assert status == 0
    assert "8 of 12 photos are classified correctly: 0.667" in words
    assert "Skipped, because the checkpoint does not know these classes: orchids (1)." in notes
    assert "trained on" not in notes
    status, numbers, _ = run(*asked, "--json")
    content = json.loads(numbers)
    assert content == json.loads((tmp_path / "figures" / "evaluation.json").read_text("utf-8"))
    assert content["accuracy"]["right"] == 8
    assert f"{content['calibration']['temperature']:.3f}" in words
    for name in ("confusion.png", "reliability.png", "mistakes.png"):
        assert (tmp_path / "figures" / name).exists()


def test_the_faithfulness_of_a_map_is_measured(run, our_checkpoint, photo_file):
    asked = ("explain", photo_file, "--checkpoint", our_checkpoint, "--method", "legrad", "--trust")
    status, numbers, _ = run(*asked, "--json")
    assert status == 0
    content = json.loads(numbers)["trust"]
    prepared = prepare(load(str(our_checkpoint)), photo_file)
    analysis = prepared.explain("legrad")
    label = analysis.predictions[0].label
    tracked = {"followed": f"the probability of {label}"}
    assert content == {**tracked, **prepared.scores_vs_random(analysis).as_json()}
    _, words, _ = run(*asked)
    assert "the map is better than noise in" in words
    assert f"Deletion {content['map']['deletion']:.2f}, noise" in words


def test_faithfulness_prints_saves_and_draws_the_same_numbers(
    run, our_checkpoint, sorted_photos, tmp_path
):
    asked = ("faithfulness", "--checkpoint", our_checkpoint, "--data", sorted_photos)
    asked = (*asked, "--limit", 10, "--methods", " legrad, rollout", "--steps", 4)
    asked = (*asked, "--randomise", 2)
    status, numbers, notes = run(*asked, "--json", "--out", tmp_path / "out")
    assert status == 0
    content = json.loads(numbers)
    assert content == json.loads((tmp_path / "out" / "faithfulness.json").read_text("utf-8"))
    assert "faithfulness.png" in notes
    assert "photos: 1 of 10\n" in notes
    assert "photos: 10 of 10\n" in notes
    with Image.open(tmp_path / "out" / "faithfulness.png") as picture:
        assert picture.width > 1000
    assert content["photos"] == 10
    assert content["choice"]["photos"] == [5, 5]
    assert list(content["methods"]) == ["rollout", "legrad", "random"]
    for figure, curves in content["curves"].items():
        shares = curves.pop("shares")
        assert shares == pytest.approx([0, 0.25, 0.5, 0.75, 1])
        for name, probabilities in curves.items():
            area = float(torch.trapezoid(torch.tensor(probabilities), torch.tensor(shares)))
            assert area == pytest.approx(content["methods"][name][figure]["mean"], abs=1e-6)
    assert set(content["randomised"]) == {"rollout", "legrad"}
    assert [step["part"] for step in content["randomised"]["legrad"]][:2] == ["head", "norm"]
    _, words, _ = run(*asked)
    words = " ".join(words.split())
    assert f"Ranking on 5 of the photos: {', '.join(content['choice']['ranked'])}." in words
    assert "Means over 10 photos, with 95 % intervals; 4 steps" in words
    for figures in content["methods"].values():
        assert f"{figures['deletion']['mean']:.3f} (" in words


def test_options_of_single_methods_are_read(run, our_checkpoint, sorted_photos):
    asked = ("faithfulness", "--checkpoint", our_checkpoint, "--data", sorted_photos)
    asked = (*asked, "--limit", 1, "--methods", "legrad", "--steps", 2, "--json")
    saco = [
        json.loads(run(*asked, *more)[1])["methods"]["legrad"]["saco"]["mean"]
        for more in ((), ("--option", "legrad.layers=3"), ("--bfloat16",))
    ]
    assert len(set(saco)) == 3
    for wrong, words in (
        ("layers=3", "is not an option; write it like occlusion.block=2"),
        ("legrat.layers=3", "'legrat' is not compared; .*legrad"),
        ("legrad.layer=3", "'legrad' has no option 'layer'"),
    ):
        status, _, error = run(*asked, "--option", wrong)
        assert status == 2
        assert re.search(words, error)


def test_faithfulness_on_held_out_photos_only(run, our_checkpoint, sorted_photos, tmp_path):
    names = sorted(f"{path.parent.name}/{path.name}" for path in sorted_photos.rglob("*.png"))[:3]
    (our_checkpoint / "training.json").write_text(json.dumps({"held_out_photos": names}))
    asked = ("faithfulness", "--checkpoint", our_checkpoint, "--steps", 2, "--methods", "rollout")
    asked = (*asked, "--held-out", "--json", "--data")
    assert json.loads(run(*asked, sorted_photos)[1])["photos"] == 3
    (tmp_path / "empty").mkdir()
    status, _, error = run(*asked, tmp_path / "empty")
    assert (status, "no held-out photos of this checkpoint" in error) == (2, True)
    status, _, error = run(*asked, tmp_path / "nowhere")
    assert (status, "There is no folder" in error) == (2, True)
    status, _, error = run(*asked, sorted_photos, "--checkpoint", "owner/name")
    assert (status, "is not a checkpoint folder on this machine" in error) == (2, True)
    (tmp_path / "taken" / "faithfulness.json").mkdir(parents=True)
    status, _, error = run(*asked, sorted_photos, "--out", tmp_path / "taken")
    assert (status, "faithfulness.json' cannot be written" in error) == (2, True)


def test_one_photo_has_no_interval_and_no_choice(run, our_checkpoint, sorted_photos):
    asked = ("faithfulness", "--checkpoint", our_checkpoint, "--data", sorted_photos)
    asked = (*asked, "--limit", 1, "--steps", 2, "--methods", "rollout")
    status, words, _ = run(*asked)
    assert status == 0
    assert "(" not in words.split("One photo")[0]
    content = json.loads(run(*asked, "--json")[1])
    assert "choice" not in content
    assert content["methods"]["rollout"]["saco"]["interval"] is None


def test_held_out_photos_are_scored_used_for_calibration_and_put_on_the_card(
    run, our_checkpoint, sorted_photos
):
    names = sorted(f"{path.parent.name}/{path.name}" for path in sorted_photos.rglob("*.png"))
    listed = [name for name in names if "orchids" not in name][:9]
    summary = {"held_out_photos": listed, "minutes": 7}
    (our_checkpoint / "training.json").write_text(json.dumps(summary))
    asked = ("evaluate", "--checkpoint", our_checkpoint, "--data", sorted_photos)
    status, _, notes = run(*asked)
    assert (status, notes.count("was trained on 3 of these photos")) == (0, 1)
    status, _, notes = run(*asked, "--calibrate")
    assert status == 2
    assert "would be overconfident; add --held-out" in notes
    status, _, error = run(*asked, "--unsure-below", 0.5)
    assert (status, "add --calibrate" in error) == (2, True)
    keep = ("--calibrate", "--card", "--licence", "mit", "--credit", "Ann")
    status, out, _ = run(*asked, "--held-out", "--json", *keep)
    content = json.loads(out)
    assert (status, content["photos"], content["held_out"]) == (0, 9, True)
    stored = load(str(our_checkpoint)).calibration
    assert stored.temperature == content["calibration"]["temperature"]
    assert stored.unsure_below == content["calibration"]["unsure_below"]
    card = (our_checkpoint / "README.md").read_text("utf-8")
    assert f"**{content['accuracy']['right']} of 9 held-out photos correctly" in card
    assert "7 minutes" in card
    assert f"has the temperature {stored.temperature:.3f}" in card
    chosen = ("--held-out", "--calibrate", "--temperature", 1, "--unsure-below", 0.7)
    status, words, notes = run(*asked, *chosen)
    assert (status, "The given temperature is 1.000" in words) == (0, True)
    assert "temperature 1.000; unsure below 70.0%" in notes
    assert load(str(our_checkpoint)).calibration == Calibration(1.0, 0.7)
    status, _, error = run(*asked, "--temperature", 0)
    assert (status, "temperature" in error) == (2, True)


def test_possible_training_photos_are_not_used_for_calibration(
    run, our_checkpoint, sorted_photos, tmp_path
):
    """A run on train and val folders, evaluated on one of them; then on new photos."""
    pair = tmp_path / "pair"
    for part in ("train", "val"):
        shutil.copytree(sorted_photos, pair / part)
    for number, path in enumerate(sorted((pair / "val").rglob("*.png"))):
        Image.new("RGB", (20, 20), (number, 0, 0)).save(path)
    names = [path.relative_to(pair).as_posix() for path in sorted((pair / "val").rglob("*.png"))]
    summary = our_checkpoint / "training.json"
    summary.write_text(json.dumps({"held_out_photos": names}))
    asked = ("evaluate", "--checkpoint", our_checkpoint, "--data", pair / "train")
    warning = f"None of the checkpoint's held-out photos are in '{pair / 'train'}', so it may have"
    status, words, notes = run(*asked, "--json")
    assert (status, json.loads(words)["trained_on"]) == (0, None)
    assert warning in notes
    status, _, error = run(*asked, "--calibrate")
    assert status == 2
    assert warning in error
    summary.write_text(json.dumps({"held_out_photos": names, "data": str(pair)}))
    status, _, error = run(*asked, "--calibrate")
    assert (status, "was trained on 12 of these photos" in error) == (2, True)
    for path in (pair / "train").rglob("*.png"):
        with Image.open(path) as photo:
            photo.rotate(180).save(path)
    shutil.move(pair / "train", tmp_path / "new")
    shutil.copytree(sorted_photos, pair / "train")
    status, _, notes = run(*asked[:-1], tmp_path / "new", "--calibrate")
    assert "may have been trained" not in notes
    assert (status, "Stored in" in notes) == (0, True)


def test_a_picture_and_the_numbers_can_be_written(run, our_checkpoint, photo_file, tmp_path):
    for name in ("map.png", "map.svg", "map.pdf", "map.json"):
        status, _, _ = run(
            "explain", photo_file, "--checkpoint", our_checkpoint, "--out", tmp_path / name
        )
        assert status == 0
    with Image.open(tmp_path / "map.png") as slide:
        assert slide.size == (1920, 1080)
    assert json.loads((tmp_path / "map.json").read_text())["grid"] == [4, 4]


def test_a_small_photo_is_noted_in_the_table_and_not_in_the_json(
    run, our_checkpoint, photo_file, tmp_path
):
    small = tmp_path / "small.png"
    Image.new("RGB", (6, 5)).save(small)
    asked = ("--checkpoint", our_checkpoint)
    words = "The photo has only 6 × 5 pixels; the model reads 32 × 32"
    assert words in run("explain", small, *asked)[1]
    assert "The photo has only" not in run("explain", photo_file, *asked)[1]
    keys = [
        json.loads(run("explain", photo, *asked, "--json")[1]).keys()
        for photo in (small, photo_file)
    ]
    assert keys[0] == keys[1]


def test_pickled_weights_are_read_only_when_allowed(run, our_checkpoint, photo_file):
    asked = ("explain", photo_file, "--checkpoint", our_checkpoint, "--json", "--logits")
    before = json.loads(run(*asked)[1])["logits"]
    torch.save(
        load_file(our_checkpoint / "model.safetensors"), our_checkpoint / "pytorch_model.bin"
    )
    (our_checkpoint / "model.safetensors").unlink()
    status, out, err = run(*asked)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--allow-pickle" in err
    status, out, _ = run(*asked, "--allow-pickle")
    assert status == 0
    assert json.loads(out)["logits"] == pytest.approx(before, rel=1e-5)
    status, out, _ = run("methods", "--checkpoint", our_checkpoint, "--allow-pickle")
    assert (status, "rollout" in out) == (0, True)


def test_methods_are_listed(run, our_checkpoint):
    status, out, _ = run("methods", "--checkpoint", our_checkpoint)
    assert status == 0
    assert all(name in out for name in ("rollout", "attention", "random"))
    status, out, _ = run("methods", "--checkpoint", our_checkpoint, "--json")
    rows = {row["name"]: row for row in json.loads(out)["methods"]}
    assert rows["attention"]["options"] == {"layer": -1, "head": 0}
    assert rows["rollout"]["class_specific"] is False
    assert rows["rollout"]["exact"] is True
    assert rows["rollout"]["choices"] == {"fusion": ["mean", "max", "min"]}
    assert rows["occlusion"]["options"] == {"hide": "drop", "block": 2}
    assert all(row["fits"] and row["why_not"] is None for row in rows.values())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "none.jpg"], "There is no photo at 'none.jpg'"),
        (["explain", "TEXT"], "is not a picture"),
        (["explain", "HALF"], "is damaged"),
        (["explain", "PHOTO", "--checkpoint", "nothing"], "'nothing' is no bundled checkpoint"),
        (["explain", "PHOTO", "--method", "rolout"], "did you mean 'rollout'"),
        (["explain", "PHOTO", "--target", "rose"], "did you mean 'roses'"),
        (["explain", "PHOTO", "--option", "layer"], "write it like layer=3"),
        (["explain", "PHOTO", "--option", "fusion=mode"], "it must be one of: mean, max, min"),
        (["explain", "PHOTO", "--option", "start_layer=x"], "it must be a whole number"),
        (
            ["explain", "PHOTO", "--method", "rollout", "--versus", "roses"],
            "choose one of: relevance, legrad",
        ),
        (["explain", "PHOTO", "--method", "attention", "--option", "layer=99"], "layers 1 to"),
        (["explain", "PHOTO", "--top", "0"], "--top"),
        (["explain", "PHOTO", "--out", "map.doc"], "use .json, .png, .svg, .pdf"),
        (["explain", "PHOTO", "--out", "no/where/map.png"], "no folder 'no/where'"),
        (["explain", "PHOTO", "--loud"], "--loud"),
        (["explain"], "Missing argument"),
        (["explian"], "explian"),
        (["evaluate", "--data", "none"], "There is no folder 'none'"),
        (["evaluate", "--data", "x", "--checkpoint", "ann/b", "--card"], "not a checkpoint folder"),
        (["publish", "none", "ann/flowers"], "There is no folder 'none'"),
        (["publish", "none", "flowers"], "is not the name of a Hub repository"),
        (["finetune", "--data", "gone", "--weights", "none", "--out", "new"], "no folder 'gone'"),
        (["finetune", "--data", "gone", "--weights", "gone", "--out", "new"], "'gone'"),
        (["finetune", "--out", "new"], "--data and --weights are missing"),
        (["finetune", "--out", "new", "--resume"], "no run to resume"),
    ],
)
def test_a_users_error_is_one_line_and_status_2(
    run, our_checkpoint, photo_file, tmp_path, arguments, words
):
    (tmp_path / "text.jpg").write_text("Only words.")
    whole = tmp_path / "whole.jpg"
    Image.open(photo_file).save(whole)
    (tmp_path / "half.jpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    files = {"PHOTO": photo_file, "TEXT": tmp_path / "text.jpg", "HALF": tmp_path / "half.jpg"}
    chosen = [str(files.get(argument, argument)) for argument in arguments]
    if arguments[0] == "explain" and "--checkpoint" not in chosen and len(chosen) > 1:
        chosen += ["--checkpoint", str(our_checkpoint)]
    status, out, err = run(*chosen)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


def test_a_bug_keeps_its_traceback(run, our_checkpoint, photo_file, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("vit_demo.cli.explain.prepare", broken)
    with pytest.raises(ZeroDivisionError):
        run("explain", photo_file, "--checkpoint", our_checkpoint)


def test_it_runs_as_a_module_without_the_page(tmp_path):
    """`python -m vit_demo` works without importing Gradio, which takes seconds."""
    code = (
        "import sys, runpy\n"
        "sys.argv = ['vit_demo', 'explain', 'none.jpg']\n"
        "try: runpy.run_module('vit_demo', run_name='__main__')\n"
        "finally: print('gradio' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert done.stdout == "False\n"
    assert done.stderr == "There is no photo at 'none.jpg'; check the path.\n"


@pytest.fixture
def few_and_many(tmp_path, noise_photo):
    """Few training photos and many held-out photos."""
    for part, count in (("train", 4), ("val", 150)):
        for number, label in enumerate(("daisy", "roses")):
            (tmp_path / "photos" / part / label).mkdir(parents=True)
            for photo in range(count):
                picture = noise_photo(32, 32, seed=1000 * number + photo + len(part))
                picture.save(tmp_path / "photos" / part / label / f"{photo}.png")
    return tmp_path / "photos"


@pytest.fixture
def training(few_and_many, our_checkpoint, tmp_path):
    return (
        "finetune", "--data", few_and_many, "--weights", our_checkpoint, "--out", tmp_path / "out",
        "--image-size", 32, "--patch-size", 8, "--epochs", 1, "--head-epochs", 0,
        "--batch-size", 4, "--set", "workers=0",
        "--licence", "cc-by-4.0", "--credit", "Ada",
    )  # fmt: skip


def interrupted(arguments, moment):
    """Run a process, press Ctrl-C after a line with that start; its status and remaining output."""
    with subprocess.Popen(
        [sys.executable, "-m", "vit_demo", *map(str, arguments)],
        stderr=subprocess.PIPE, text=True, cwd=ROOT,
        # Tests that run in the background may ignore SIGINT; restore the default.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        for line in process.stderr:
            if line.startswith(moment):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    return process.returncode, rest


def test_ctrl_c_prints_one_word_and_exits_with_130(few_and_many, our_checkpoint):
    asked = ("evaluate", "--checkpoint", our_checkpoint, "--data", few_and_many / "val")
    assert interrupted(asked, "photos: 30 of 300") == (130, "Stopped.\n")


def test_a_finished_run_is_neither_trained_nor_scored_again(run, training, tmp_path):
    status, _, notes = run(*training)
    assert (status, "of 300 held-out photos are classified correctly" in notes) == (0, True)
    assert "scoring: 30 of 300\n" in notes
    recipe = json.loads((tmp_path / "out" / "training.json").read_text())["recipe"]
    assert recipe["bfloat16"] is bfloat16_is_faster_here()
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.*")}
    status, _, error = run(*training, "--seed", 7)
    assert (status, "contains a finished run; name another folder" in error) == (2, True)
    status, _, error = run("finetune", "--resume", "--out", tmp_path / "out")
    assert (status, "there is nothing to resume" in error) == (2, True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.*")} == before


def test_interrupted_scoring_is_resumed_with_the_same_plan(run, training, tmp_path):
    status, rest = interrupted(training, "scoring: 30 of 300")
    assert status == 2
    assert "Stopped before the held-out photos were scored; finetune --resume --out" in rest
    out = tmp_path / "out"
    assert not (out / "README.md").exists()
    for option, value in (("--epochs", 9), ("--credit", "Bo"), ("--seed", 4)):
        status, _, error = run("finetune", "--resume", "--out", out, option, value)
        assert (status, f"{option} cannot be changed when a run is resumed" in error) == (2, True)
    status, _, _ = run("finetune", "--resume", "--out", out)
    assert status == 0
    for _ in range(2):
        card = (out / "README.md").read_text("utf-8")
        assert "license: cc-by-4.0" in card
        assert "**Credit.** Ada" in card
        status, _, _ = run(
            "evaluate", "--checkpoint", out, "--data", training[2], "--held-out", "--card"
        )
        assert status == 0
    assert json.loads((out / "training.json").read_text())["credit"] == "Ada"


def test_a_command_without_its_arguments_points_at_its_own_help(run):
    status, _, err = run("explain")
    assert status == 2
    assert "Try: python -m vit_demo explain --help" in err
    assert err.count("\n") == 1


def test_former_names_of_options_work_with_a_note(run, our_checkpoint, photo_file):
    status, out, err = run("explain", photo_file, "--checkpoint", our_checkpoint, "--trust")
    assert status == 0
    assert "--trust is now called --faithfulness." in err
    assert "Deletion" in out


def test_a_target_without_a_method_is_explained(run, our_checkpoint, photo_file):
    arguments = ("explain", photo_file, "--checkpoint", our_checkpoint, "--target", "roses")
    content = json.loads(run(*arguments, "--json")[1])
    assert (content["method"], content["target"]["label"]) == ("relevance", "roses")
    status, _, err = run(*arguments, "--method", "rollout")
    assert status == 2
    assert "the same map for every class" in err
