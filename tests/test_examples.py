"""The finished examples in assets/examples are what a run gives today."""

import base64
import json
import sys

import numpy as np
import pytest

from vit_demo.analysis import EXAMPLES
from vit_demo.settings import ASSETS

sys.path.insert(0, str(ASSETS))
from write_examples import example_data, file_of

MOST_BYTES = 150_000
# A value as a byte, and a share of the largest, may round differently on another processor.
BYTE, SHARE = 2, 0.01
# Pictures are encoded by whichever library is installed.
PICTURES = ("photo", "picture")


def without_pictures(data):
    return {key: value for key, value in data.items() if key not in PICTURES}


def floats(text):
    return np.frombuffer(base64.b64decode(text), np.float32)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_a_fresh_run_gives(name):
    stored = json.loads(file_of(name).read_text(encoding="utf-8"))
    fresh = json.loads(json.dumps(example_data(name)))
    for key in PICTURES:
        assert stored[key].keys() == fresh[key].keys()
    assert stored["photo"]["crop"]["grid"] == fresh["photo"]["crop"]["grid"]
    lenses = [floats(data["lens"].pop("bytes")) for data in (stored, fresh)]
    np.testing.assert_allclose(*lenses, atol=0.005)
    trusts = [data.pop("trust") for data in (stored, fresh)]
    curves = [[curve.pop(who) for curve in trust.pop("curves") for who in ("map", "noise")]
              for trust in trusts]  # fmt: skip
    np.testing.assert_allclose(*curves, atol=0.02)
    # The figures as they are written, and which of two close ones is better, may round apart.
    assert (trusts[0]["view"], trusts[0]["short"]) == ("rollout", True)
    assert trusts[0]["protocol"] == trusts[1]["protocol"]
    rows, expected = stored.pop("rows"), fresh.pop("rows")
    bytes_of = [np.frombuffer(base64.b64decode(r.pop("bytes")), np.uint8) for r in (rows, expected)]
    assert np.abs(bytes_of[0].astype(int) - bytes_of[1]).max() <= BYTE
    scales = [floats(r.pop("scales")) for r in (rows, expected)]
    np.testing.assert_allclose(*scales, rtol=SHARE)
    assert rows == expected
    for view, other in zip(stored["views"], fresh["views"], strict=True):
        assert view.keys() == other.keys()
        if "values" in view:
            one, same = floats(view.pop("values")), floats(other.pop("values"))
            np.testing.assert_allclose(one, same, atol=SHARE * float(same.max()))
            for edge in ("low", "high"):
                assert view.pop(edge) == pytest.approx(other.pop(edge), rel=SHARE)
    one, same = stored.pop("predictions"), fresh.pop("predictions")
    assert [p["label"] for p in one] == [p["label"] for p in same]
    expected = pytest.approx([p["probability"] for p in same], abs=0.005)
    assert [p["probability"] for p in one] == expected
    assert without_pictures(stored) == without_pictures(fresh)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_small(name):
    assert file_of(name).stat().st_size < MOST_BYTES
