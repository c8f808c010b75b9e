"""The tree of errors and their messages."""

import ast
import inspect
from pathlib import Path

import pytest

from vit_demo import errors
from vit_demo.errors import CheckpointError, DemoError, StateDictMismatchError, nearest

KINDS = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__
}


def test_every_error_class_is_a_demo_error():
    assert len(KINDS) > 10
    assert all(issubclass(kind, DemoError) for kind in KINDS.values())


def test_the_module_docstring_shows_the_whole_tree():
    assert errors.__doc__ is not None
    for name, kind in KINDS.items():
        assert name in errors.__doc__
        drawn = next(line for line in errors.__doc__.splitlines() if f"{name} " in f"{line} ")
        below_checkpoint = issubclass(kind, CheckpointError) and kind is not CheckpointError
        assert ("│   " in drawn) == below_checkpoint, drawn


def test_a_state_dict_mismatch_lists_every_tensor_with_a_sign():
    error = StateDictMismatchError("tulip.safetensors", ["a"], ["b", "c"], {"d": ((5,), (7,))})
    lines = str(error).splitlines()
    assert lines[0].startswith("tulip.safetensors does not fit")
    assert lines[1:5] == [
        "  - a: in the model, not in the file",
        "  + b: in the file, not in the model",
        "  + c: in the file, not in the model",
        "  ~ d: the model wants (5,), the file has (7,)",
    ]
    assert error.missing == ("a",)
    assert error.unexpected == ("b", "c")
    assert error.reshaped == {"d": ((5,), (7,))}


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("rolout", "did you mean 'rollout'?"),
        ("ROLLOUT?", "choose one of: rollout, relevance, legrad."),
        ("", "choose one of: rollout, relevance, legrad."),
    ],
)
def test_the_nearest_name_is_suggested_or_all_are_listed(given, answer):
    assert nearest(given, ["rollout", "relevance", "legrad"]) == answer


def test_every_error_is_raised_with_a_message():
    package = Path(errors.__file__).parent
    raised = 0
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Raise)
                and isinstance(node.exc, ast.Call)
                and isinstance(node.exc.func, ast.Name)
                and node.exc.func.id in KINDS
            ):
                raised += 1
                assert node.exc.args, f"{path.name}:{node.lineno}"
    assert raised > 10
