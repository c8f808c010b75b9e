"""The mean of several runs' weights, which costs nothing to run and often names more rightly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vit_demo.checkpoints import Stored, read_folder, transformers
from vit_demo.checkpoints.files import read_json, write_json
from vit_demo.checkpoints.transformers.vit import check_plain
from vit_demo.errors import DataError, UnsupportedError
from vit_demo.models.vit import ViTConfig
from vit_demo.training.report import make_folder
from vit_demo.training.run import SUMMARY
from vit_demo.training.saved import RunFolder
from vit_demo.training.selection import held_out_photos, summary_of, trained_in

# The key in training.json under which each run says what it does not share with the others.
RUNS = "averaged"

# What each run says for itself, even where two agree.
OWN = {"command", "minutes"}

HELD_OUT = "held_out_photos"
FEWEST = 2


@dataclass(frozen=True, eq=False)
class Member:
    """One of the runs: what its files say, and what it says about itself."""

    name: str
    stored: Stored
    summary: Mapping[str, Any]
    held_out: frozenset[str]


def average(runs: Sequence[Path], out: Path, command: str | None = None) -> Path:
    """Write the mean of the runs' weights to `out`, and what is known of them; where they learnt.

    Runs that began at the same weights end in one valley of the loss, so that the mean of their
    weights is a model as well, and mostly a better one (Wortsman et al. 2022, arXiv 2203.05482, its
    uniform soup). Held out are the photos that none of the runs learnt from. A temperature is not
    taken over.

    Raises DataError where the runs do not fit together, no photo was held out by all of them or
    `out` holds something, UnsupportedError for what is no plain ViT, OutputError where `out`
    cannot be written to.
    """
    members = [_member(run) for run in runs]
    if len(members) < FEWEST:
        raise DataError(f"A mean needs {FEWEST} runs or more; name their folders.")
    first, *others = members
    for other in others:
        _check_alike(first, other)
    held_out = frozenset.intersection(*(member.held_out for member in members))
    if not held_out:
        raise DataError(
            "There is no photo that all of these runs held out, so their mean could be scored on "
            "none; average runs with the same --fold and --seed."
        )
    config = first.stored.config
    if not isinstance(config, ViTConfig):
        raise UnsupportedError(f"{first.stored.architecture} is no ViT; only those are averaged.")
    check_plain(config)
    RunFolder(out).check_free()
    make_folder(out)
    transformers.write(
        out,
        config,
        mean([member.stored.tensors for member in members]),
        first.stored.labels,
        first.stored.preprocessing,
        torch.float16,
    )
    summary = {
        **summarise([member.summary for member in members], [member.name for member in members]),
        "command": command,
        HELD_OUT: sorted(held_out),
    }
    write_json(out / SUMMARY, summary)
    return Path(first.summary["data"])


def mean(weights: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of every tensor, in float32."""
    return {
        name: torch.stack([each[name].float() for each in weights]).mean(dim=0)
        for name in weights[0]
    }


def summarise(summaries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """What the runs say about themselves: once where they agree, else each under its name."""
    first = summaries[0]
    shared = {
        key: value
        for key, value in first.items()
        if key not in OWN and all(key in each and each[key] == value for each in summaries)
    }
    own = [
        {"name": name}
        | {key: value for key, value in each.items() if key not in shared and key != HELD_OUT}
        for name, each in zip(names, summaries, strict=True)
    ]
    return {**shared, RUNS: own, "minutes": _minutes(summaries)}


def _minutes(summaries: Sequence[Mapping[str, Any]]) -> float | None:
    known = [each["minutes"] for each in summaries if "minutes" in each]
    return round(sum(known), 1) if len(known) == len(summaries) else None


def _member(folder: Path) -> Member:
    """Raises DataError for a folder that says nothing of how it was trained."""
    stored = read_folder(folder, str(folder))
    held_out = held_out_photos(folder)
    path = summary_of(folder)
    if path is None or trained_in(folder) is None:
        raise DataError(
            f"'{folder}' does not say in its {SUMMARY} which photos it learnt from; name folders "
            "that finetune wrote."
        )
    return Member(folder.resolve().name, stored, read_json(path, f"'{folder}'"), held_out)


def _check_alike(first: Member, other: Member) -> None:
    """Raise DataError where two runs cannot be averaged, with the first reason why."""
    pairs = (
        ("have another shape", first.stored.config, other.stored.config),
        ("know other classes", first.stored.labels, other.stored.labels),
        ("read photos otherwise", first.stored.preprocessing, other.stored.preprocessing),
        ("began at other weights", first.summary.get("weights"), other.summary.get("weights")),
        ("learnt from other photos", first.summary["data"], other.summary["data"]),
    )
    for words, one, another in pairs:
        if one != another:
            raise DataError(
                f"'{first.name}' and '{other.name}' {words}, so the mean of their weights would be "
                "no model; average runs of one command."
            )
