"""A family, a method and an export format can each be added with one file and one row."""

import json
from importlib import import_module

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vit_demo import explain, load
from vit_demo.checkpoints import families, summarize
from vit_demo.checkpoints.families import hub_tags, readable
from vit_demo.cli import app
from vit_demo.errors import MethodError, OutputError, UnsupportedError
from vit_demo.explanations import METHODS
from vit_demo.explanations.capability import capabilities
from vit_demo.figures.export import WRITERS, check_suffix


@pytest.fixture
def toy_family(monkeypatch):
    toy = import_module("extensions.toy_family")
    monkeypatch.setattr(families, "FAMILIES", [*families.FAMILIES, toy.FAMILY])
    return toy


@pytest.fixture
def toy_method(monkeypatch):
    method = import_module("extensions.toy_method").METHOD
    monkeypatch.setitem(METHODS, method.name, method)
    return method


@pytest.fixture
def toy_format(monkeypatch):
    for suffix, write in import_module("extensions.toy_format").WRITER.items():
        monkeypatch.setitem(WRITERS, suffix, write)


@pytest.fixture
def toy_folder(tmp_path):
    toy = import_module("extensions.toy_family")
    model = toy.ToyConfig(2, 8, (32, 32)).build()
    labels = {"0": "daisy", "1": "rose"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "toy", "id2label": labels}))
    named = {f"toy.{name}": tensor for name, tensor in model.state_dict().items()}
    save_file(named, tmp_path / "model.safetensors")
    return tmp_path


def test_without_its_row_the_family_is_refused(toy_folder):
    with pytest.raises(UnsupportedError, match="family 'toy'"):
        load(str(toy_folder))


def test_a_family_needs_its_file_and_one_row(toy_family, toy_folder, photo_file):
    checkpoint = load(str(toy_folder))
    assert checkpoint.architecture == "Toy width 8"
    assert isinstance(checkpoint.model, toy_family.Toy)
    summary = summarize(str(toy_folder))
    assert summary is not None
    assert (summary.family, summary.model) == ("Toy", toy_family.Toy)
    assert "toy" in hub_tags()
    assert "Toy" in readable()
    fitting = {a.method.name for a in capabilities(checkpoint.model) if not a.unsupported_reason}
    assert fitting == METHODS.keys() - {"legrad", "evidence"}
    for method in fitting:
        analysis = explain(checkpoint, photo_file, method)
        assert analysis.grid == (4, 4)
        assert analysis.exact


def test_a_method_needs_its_file_and_one_row(toy_method, our_checkpoint, photo_file):
    analysis = explain(load(str(our_checkpoint)), photo_file, "brightness", options={"power": "2"})
    assert float(analysis.heatmap.sum()) == pytest.approx(1)
    assert analysis.options == {"power": 2}


def test_without_its_row_there_is_no_such_method(our_checkpoint, photo_file):
    with pytest.raises(MethodError, match="no method 'brightness'"):
        explain(load(str(our_checkpoint)), photo_file, "brightness")


def test_without_its_row_the_format_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"use \.json"):
        check_suffix(tmp_path / "map.csv")


def test_a_format_needs_its_file_and_one_row(toy_format, our_checkpoint, photo_file, tmp_path):
    out = tmp_path / "map.csv"
    arguments = ["explain", str(photo_file), "--checkpoint", str(our_checkpoint), "--out", str(out)]
    app(args=arguments, standalone_mode=False)
    expected = explain(load(str(our_checkpoint)), photo_file).heatmap
    written = torch.from_numpy(np.loadtxt(out, delimiter=",")).to(expected)
    torch.testing.assert_close(written, expected, atol=1e-6, rtol=0)
    with pytest.raises(OutputError, match=r"use .*\.csv"):
        check_suffix(tmp_path / "map.doc")
