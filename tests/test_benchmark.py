"""Benchmarks on several photos: means, paired differences, halves and ranking."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from planted import EVIDENCE, Planted, bright_photo

from vit_demo import explain, load
from vit_demo.errors import DataError, MethodError
from vit_demo.explanations import METHODS, run_with_trace
from vit_demo.faithfulness import MaskedClassifier, benchmark, compared, score_one_map
from vit_demo.faithfulness.benchmark import Benchmark, Record, bootstrapped
from vit_demo.faithfulness.curves import Curve
from vit_demo.faithfulness.map_scores import CONTROL, FIGURES

SECONDS = {"rollout": 12.0, "relevance": 23.0, "legrad": 90.0, CONTROL: 10.0}


@pytest.fixture
def checkpoint(our_checkpoint):
    return load(str(our_checkpoint))


@pytest.fixture
def photos(tmp_path, noise_photo):
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        noise_photo(60 + 7 * number, 50, seed=number).save(path)
    return paths


@pytest.fixture
def planted(tiny_config):
    """Twenty photos for which the right map is known."""
    model = Planted(tiny_config)
    records = []
    for number in range(20):
        pixels = bright_photo() * (0.8 + 0.02 * number)
        case = MaskedClassifier(run_with_trace(model, pixels), target=0)
        draw = torch.Generator().manual_seed(number)
        maps = {
            "rollout": EVIDENCE + torch.rand(4, 4, generator=draw),
            "relevance": EVIDENCE,
            "legrad": -EVIDENCE,
            CONTROL: torch.rand(4, 4, generator=draw),
        }
        records.append(Record(Path(f"{number}.png"), score_one_map(case, maps, 8), SECONDS, 10.0))
    return Benchmark("planted", tuple(records), {}, drops=False)


def test_the_scores_are_those_of_the_maps_of_explain(checkpoint, photos):
    chosen = compared(checkpoint)
    found = benchmark(checkpoint, photos, chosen, steps=6)
    assert found.methods == [method.name for method in chosen] == list(METHODS)
    assert [record.photo for record in found.records] == photos
    analysis = explain(checkpoint, photos[2], "relevance")
    traced = run_with_trace(checkpoint.model, checkpoint.preprocessing(analysis.photo).pixels)
    case = MaskedClassifier(traced, analysis.predictions[0].index)
    expected = score_one_map(case, {"relevance": analysis.heatmap}, 6)["relevance"]
    for figure in FIGURES:
        own = found.records[2].scores["relevance"].figure(figure)
        assert own == pytest.approx(expected.figure(figure), abs=1e-5)
    noises = [tuple(r.scores[CONTROL].deletion.probabilities.tolist()) for r in found.records]
    assert len(set(noises)) == len(photos)
    assert found.steps == 6
    assert all(s > 0 for record in found.records for s in (*record.seconds.values(), record.plain))


def test_unreadable_photos_are_reported_and_skipped(checkpoint, photos, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    calls = []
    found = benchmark(
        checkpoint, [photos[0], broken], compared(checkpoint, ["legrad"]), 3,
        lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert [record.photo for record in found.records] == [photos[0]]
    assert "broken.jpg" in found.unusable[broken]
    assert calls == [(1, 2), (2, 2)]
    with pytest.raises(DataError, match=r"None of the photos can be used .*broken\.jpg"):
        benchmark(checkpoint, [broken], compared(checkpoint), 3)
    assert found.halves() is None
    assert found.mean("legrad", "saco").interval is None
    assert found.mean("legrad", "saco").value == found.records[0].scores["legrad"].saco


def test_the_control_and_the_baseline_are_always_compared(checkpoint):
    assert [m.name for m in compared(checkpoint, ["legrad"])] == ["rollout", "legrad", "random"]
    with pytest.raises(MethodError, match="no method 'legrat'; .*legrad"):
        compared(checkpoint, ["legrat"])


def test_a_paired_difference_is_the_mean_of_the_differences_per_photo(planted):
    for figure in FIGURES:
        mine, other = (planted.figures(name, figure) for name in ("relevance", CONTROL))
        found = planted.difference("relevance", CONTROL, figure)
        assert found.value == pytest.approx(float((mine - other).mean()))
        low, high = found.interval
        assert low <= found.value <= high
    assert planted.difference("relevance", CONTROL, "deletion").interval[1] < 0
    assert planted.difference("relevance", CONTROL, "saco").interval[0] > 0
    assert planted.difference("legrad", CONTROL, "deletion").interval[0] > 0


def test_the_bootstrap_interval_matches_the_normal_one_for_many_photos():
    values = torch.randn(4000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mean = bootstrapped(values)
    half = 1.96 * float(values.std()) / 4000**0.5
    low, high = mean.interval
    assert high - low == pytest.approx(2 * half, rel=0.08)
    assert (low + high) / 2 == pytest.approx(mean.value, abs=0.2 * half)
    same = bootstrapped(torch.full((7,), 0.25, dtype=torch.float64))
    assert same.interval == (0.25, 0.25) == (same.value, same.value)


def test_halves_are_disjoint_and_complete(planted):
    first, second = planted.halves()
    photos = [{record.photo for record in half.records} for half in (first, second)]
    assert [len(half) for half in photos] == [10, 10]
    assert photos[0] | photos[1] == {record.photo for record in planted.records}
    assert planted.halves()[0].records == first.records
    assert replace(planted, records=planted.records[:9]).halves() is None
    assert planted.halves(seed=1)[0].records != first.records


def test_the_ranking_is_by_summed_ranks_without_the_control(planted):
    assert planted.ranked() == ["relevance", "rollout", "legrad"]
    assert planted.ranked(planted.quick) == ["relevance", "rollout"]
    assert planted.quick == ["rollout", "relevance"]
    assert planted.ranked([]) == []


@pytest.mark.parametrize(("costly", "cheap"), [("rollout", "relevance"), ("relevance", "rollout")])
def test_ties_are_broken_by_cost(planted, costly, cheap):
    twins = tuple(
        replace(
            record,
            scores={**record.scores, "rollout": record.scores["relevance"]},
            seconds={**record.seconds, costly: 50.0, cheap: 11.0},
        )
        for record in planted.records
    )
    assert replace(planted, records=twins).ranked()[:2] == [cheap, costly]
    assert replace(planted, records=twins).cost(costly) == 5


def test_curves_from_different_grids_are_interpolated(planted):
    """Half-way between the points of a coarser curve its value is their mean."""
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    coarse = Curve(ends, torch.tensor([1.0, 0.0]))
    record = planted.records[0]
    other = replace(
        record,
        scores={n: replace(m, deletion=coarse) for n, m in record.scores.items()},
    )
    both = replace(planted, records=(record, other))
    expected = (record.scores["relevance"].deletion.probabilities[4] + 0.5) / 2
    assert both.curve("relevance", "deletion")[1, 4] == pytest.approx(float(expected))


def test_a_method_without_a_map_is_named(checkpoint, photos):
    def no_map(traced, target):
        raise MethodError("This map would be empty.")

    methods = [METHODS["rollout"], replace(METHODS["relevance"], run=no_map), METHODS[CONTROL]]
    with pytest.raises(DataError, match=r"0\.png, relevance: This map would be empty"):
        benchmark(checkpoint, photos[:2], methods, 3)


def test_mean_curves_share_their_first_and_last_point(planted):
    curves = {name: planted.curve(name, "deletion") for name in planted.methods}
    for line in curves.values():
        assert line.shape == (2, 9)
        assert line[0].tolist() == torch.linspace(0, 1, 9).tolist()
        torch.testing.assert_close(line[1, [0, -1]], curves[CONTROL][1, [0, -1]])
