"""The command `tokens` and its pictures: similar patches, colors, and the depth lens."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vit_demo import load, prepare
from vit_demo.explanations.depth_lens import depth_lens
from vit_demo.explanations.similarity import token_colors, token_similarity
from vit_demo.figures.tokens import MARK, draw_depth_lens, mark_patch


@pytest.fixture
def ask(run, our_checkpoint, photo_file):
    """Run the command on the photo; its output, after checking that it succeeds."""

    def ask(*options):
        status, out, err = run("tokens", photo_file, "--checkpoint", our_checkpoint, *options)
        assert (status, err) == (0, "")
        return out

    return ask


@pytest.fixture
def traced(our_checkpoint, photo_file):
    return prepare(load(str(our_checkpoint)), photo_file).traced


@pytest.fixture
def second(tmp_path, noise_photo):
    path = tmp_path / "second.png"
    noise_photo(60, 80, seed=5).save(path)
    return path


def test_similarity_is_numbered_from_one_and_equals_the_result_in_python(ask, traced):
    content = json.loads(ask("--like", "2,4", "--layer", "2", "--json"))
    assert content["view"] == "similarity"
    assert (content["patch"], content["layer"], content["grid"]) == ([2, 4], 2, [4, 4])
    assert content["similarity"] == token_similarity(traced, (1, 3), layer=2)[0].tolist()
    out = ask("--like", "2,4", "--layer", "2")
    values = torch.tensor(content["similarity"]).flatten()
    values[7] = -2
    row, col = divmod(int(values.argmax()), 4)
    assert "most similar to row 2, column 4" in " ".join(out.split())
    assert f"{row + 1}    {col + 1}       {float(values.max()):.3f}" in out


def test_a_second_photo_is_compared(ask, our_checkpoint, photo_file, second):
    content = json.loads(ask("--like", "1,1", "--to", second, "--json"))
    checkpoint = load(str(our_checkpoint))
    one, other = prepare(checkpoint, photo_file), prepare(checkpoint, second)
    assert content["second_photo"]
    assert content["layer"] == 3
    expected = token_similarity(one.traced, (0, 0), other=other.traced)[0]
    assert content["similarity"] == expected.tolist()
    assert content["box"] == list(other.prepared.grid_box(other.traced.grid, 8))


def test_colors_and_lens_equal_the_results_in_python(ask, traced):
    content = json.loads(ask("--colors", "--json"))
    assert content["colors"] == token_colors(traced)[0].tolist()
    content = json.loads(ask("--lens", "--json"))
    logits = depth_lens(traced).logits[0]
    assert content["layers"] == [1, 2, 3]
    assert content["logits"] == logits.tolist()
    assert content["probabilities"] == logits.softmax(dim=-1).tolist()
    assert len(content["depends_on_photo"]) == len(content["largest_difference"]) == 3
    best = content["labels"][int(logits[-1].argmax())]
    assert best in ask("--lens").splitlines()[3]


def test_the_bundled_checkpoint_names_the_layers_that_do_not_depend_on_the_photo(run):
    photo = Path(__file__).parents[1] / "assets" / "examples" / "dahlia.jpg"
    status, out, _ = run("tokens", photo, "--lens")
    same = [number for number, line in enumerate(out.splitlines()) if "three examples" in line]
    assert status == 0
    assert same == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("view", [("--like", "1,2"), ("--colors",), ("--lens",)])
def test_every_view_is_written_as_a_picture_and_as_numbers(ask, tmp_path, view):
    path = tmp_path / "tokens.png"
    assert f"Saved to {path}" in ask(*view, "--out", path).replace("\n", "")
    with Image.open(path) as picture:
        assert picture.width > picture.height > 500
    numbers = tmp_path / "tokens.json"
    printed = ask(*view, "--out", numbers, "--json")
    assert json.loads(numbers.read_text()) == json.loads(printed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "Choose one of --like ROW,COLUMN, --colors and --lens."),
        (("--colors", "--lens"), "Choose one of"),
        (("--colors", "--to", "x.png"), "--to names the photo to compare with"),
        (("--like", "3"), "it must be a row and a column, such as 6,7"),
        (("--like", "0,1"), "rows and columns are numbered from 1"),
        (("--like", "5,1"), "no patch in row 5, column 1; rows are 1 to 4 and columns 1 to 4"),
        (("--colors", "--layer", "4"), "layer=4, but this checkpoint has layers 1 to 3"),
        (("--colors", "--out", "x.gif"), "no suffix of a supported format"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(
    run, our_checkpoint, photo_file, options, message
):
    status, out, err = run("tokens", photo_file, "--checkpoint", our_checkpoint, *options)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_the_frame_is_around_the_patch():
    photo = Image.new("RGB", (200, 120))
    marked = np.asarray(mark_patch(photo, (20.0, 0.0, 180.0, 120.0), (3, 4), (1, 2)))
    rows, cols = np.nonzero((marked == MARK).all(axis=-1))
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (40, 80, 100, 140)
    assert np.asarray(photo).max() == 0


def test_layers_independent_of_the_photo_are_gray_and_labels_are_plain_text():
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    figure = draw_depth_lens((1, 2, 3), ("$a$", "b"), probabilities, (False, True, True), "t", "c")
    (axes,) = figure.axes
    (span,) = axes.patches
    assert (span.get_x(), span.get_width()) == (0.5, 1.0)
    assert [line.get_ydata().tolist() for line in axes.lines] == probabilities.T.tolist()
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())
