"""The depth lens as the explorer draws it: the numbers of the engine, and when there are none."""

import base64
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_mobilevit import MobileViT, MobileViTConfig
from test_payload import looked

from vit_demo.analysis import EXAMPLES, example_lenses, prepare
from vit_demo.explanations.depth_lens import depends_on_photo, depth_lens
from vit_demo.settings import ASSETS
from vit_demo.ui.explorer.lens import lens_data
from vit_demo.ui.explorer.payload import explorer_data
from vit_demo.ui.explorer.words import words


@pytest.fixture
def look(tiny_config, make_model, noise_photo):
    return looked(make_model(replace(tiny_config, classes=7)), noise_photo(101, 67))


def test_the_lens_sends_the_probabilities_of_the_engine(look):
    examples = example_lenses(look.checkpoint)
    analysis = look.explain()
    sent = lens_data(look.traced, analysis, examples, 4)
    found = depth_lens(look.traced).logits
    assert sent["classes"] == [p.index for p in analysis.predictions[:4]]
    values = np.frombuffer(base64.b64decode(sent["bytes"]), np.float32).reshape(4, 3)
    expected = found[0].softmax(dim=-1)[:, sent["classes"]].T
    np.testing.assert_allclose(values, expected.numpy(), rtol=1e-6)
    np.testing.assert_allclose(
        values[:, -1], [p.probability for p in analysis.predictions[:4]], rtol=1e-5
    )
    assert sent["depends"] == depends_on_photo(torch.cat([found, examples])).tolist()


def test_a_layer_that_says_the_same_of_every_photo_does_not_depend_on_it(look):
    own = depth_lens(look.traced).logits
    same = lens_data(look.traced, look.explain(), own.repeat(3, 1, 1), 4)
    assert same["depends"] == [False] * 3
    other = own.repeat(3, 1, 1)
    other[0, 1] = -other[0, 1]
    assert lens_data(look.traced, look.explain(), other, 4)["depends"] == [False, True, False]


def test_examples_are_read_one_after_the_other(look):
    done = []
    found = example_lenses(look.checkpoint, lambda number, total: done.append((number, total)))
    assert done == [(1, 3), (2, 3), (3, 3)]
    second = prepare(look.checkpoint, ASSETS / "examples" / EXAMPLES[1]).traced
    assert torch.equal(found[1], depth_lens(second).logits[0])


def test_the_first_answer_says_whether_a_lens_will_come(look, noise_photo):
    assert explorer_data(look.traced, [look.explain()])["lens"] == {"to_come": True}
    mobile = looked(MobileViT(MobileViTConfig(classes=5)).eval(), noise_photo(80, 80))
    reason = explorer_data(mobile.traced, [mobile.explain()])["lens"]["reason"]
    assert "No depth lens" in words()[reason["key"]]
