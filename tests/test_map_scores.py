"""Faithfulness scores: a right map is better than noise in every score, a wrong one in none."""

import pytest
import torch
from planted import EVIDENCE, Planted, bright_photo

from vit_demo.explanations import METHODS, run_with_trace
from vit_demo.faithfulness import FIGURES, score_one_map, scores_vs_random
from vit_demo.faithfulness.curves import deletion, insertion
from vit_demo.faithfulness.map_scores import CONTROL
from vit_demo.faithfulness.masked_classifier import MaskedClassifier
from vit_demo.faithfulness.saco import saco


@pytest.fixture
def case(tiny_config):
    return MaskedClassifier(run_with_trace(Planted(tiny_config), bright_photo()), target=0)


def test_a_right_map_passes_and_a_wrong_one_fails_in_every_score(case):
    right, wrong = scores_vs_random(case, EVIDENCE), scores_vs_random(case, -EVIDENCE)
    for figure in FIGURES:
        assert right.better(figure)
        assert not wrong.better(figure)


def test_a_map_of_the_wrong_class_fails(case):
    """Evidence for one class is evidence against the other."""
    other = MaskedClassifier(case.traced, target=1)
    assert not any(scores_vs_random(other, EVIDENCE).better(figure) for figure in FIGURES)
    assert all(scores_vs_random(other, -EVIDENCE).better(figure) for figure in FIGURES)


def test_scores_of_several_maps_equal_those_of_single_maps(case):
    maps = {"right": EVIDENCE, "noise": torch.rand(4, 4), "wrong": -EVIDENCE}
    together = score_one_map(case, maps, steps=7)
    for name, heatmap in maps.items():
        alone = torch.stack([heatmap])
        found = together[name]
        assert found.figure("deletion") == pytest.approx(deletion(case, alone, 7)[0].area)
        assert found.figure("insertion") == pytest.approx(insertion(case, alone, 7)[0].area)
        assert found.figure("saco") == pytest.approx(saco(case, alone)[0], abs=1e-6)


def test_noise_is_compared_with_other_noise(tiny_model):
    """The method `random` is not its own control."""
    traced = run_with_trace(tiny_model, torch.randn(1, 3, 32, 32))
    noise = METHODS[CONTROL](traced, torch.tensor([0]), {})[0]
    found = scores_vs_random(MaskedClassifier(traced, target=0), noise)
    assert not torch.equal(
        found.scores.deletion.probabilities, found.control.deletion.probabilities
    )


def test_as_json_has_every_score_of_both(case):
    content = scores_vs_random(case, EVIDENCE, steps=4).as_json()
    assert content["deletion"] == "patches in the photo's mean color"
    assert content["map"]["saco"] > content[CONTROL]["saco"]
    for who in ("map", CONTROL):
        assert set(content[who]) == {*FIGURES, "curves"}
        assert [len(line) for line in content[who]["curves"].values()] == [5, 5]
