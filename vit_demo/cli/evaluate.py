"""`evaluate`: how well a checkpoint names a folder of photos, and how honestly."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vit_demo.checkpoints import DEFAULT
from vit_demo.checkpoints.calibration import Calibration, store_calibration
from vit_demo.checkpoints.files import SUMMARY
from vit_demo.checkpoints.reference import parse
from vit_demo.cli.checkpoint import (
    CheckpointOption,
    ClassesOption,
    JsonOption,
    PickleOption,
    PreprocessingOption,
    load_with_progress,
)
from vit_demo.cli.progress import photos_with_progress
from vit_demo.errors import DataError, OptionError
from vit_demo.evaluation.eval_set import EvalSet, choose, held_out_photos, summary_of, trained_in
from vit_demo.evaluation.evaluate import Evaluation, evaluate
from vit_demo.evaluation.metrics import Reliability, between
from vit_demo.evaluation.report import as_json, make_folder, save_report
from vit_demo.evaluation.temperature import COLDEST, HOTTEST, KEPT
from vit_demo.publishing.model_card import check_card, save_card


def evaluate_command(
    data: Annotated[Path, typer.Option(help="A folder with one sub-folder of photos per class.")],
    checkpoint: CheckpointOption = DEFAULT,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Only the photos that its training left out.")
    ] = False,
    ood: Annotated[
        bool, typer.Option("--ood", help="Score classes that it does not know, too.")
    ] = False,
    as_json_: JsonOption = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures, as JSON and as pictures.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Store the fitted temperature in the checkpoint.")
    ] = False,
    temperature: Annotated[
        float | None,
        typer.Option(min=COLDEST, max=HOTTEST, help="Weigh and store this one, not the fitted."),
    ] = None,
    unsure_below: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="With --calibrate: this confidence, not the fitted one."),
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Write a model card into the checkpoint's folder.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option(help="The photos' licence, for the card, if not the run's.")
    ] = None,
    credit: Annotated[
        str | None, typer.Option(help="Whose photos, for the card, if not the run's.")
    ] = None,
    allow_pickle: PickleOption = False,
    preprocessing: PreprocessingOption = None,
    classes: ClassesOption = None,
) -> None:
    """Score a checkpoint on photos in folders named after their classes."""
    folder = _folder(checkpoint, held_out or calibrate or card)
    loaded = load_with_progress(checkpoint, allow_pickle, preprocessing, classes)
    listed, learnt_in = _listed(folder, held_out), folder and trained_in(folder)
    chosen = choose(data, loaded.labels, listed, held_out, learnt_in)
    # What cannot be kept afterwards is refused before any work is done.
    if unsure_below is not None and not calibrate:
        raise OptionError("--unsure-below is stored beside a temperature; add --calibrate.")
    if calibrate:
        _check_unseen(chosen)
    if card and folder is not None:
        check_card(folder)
    if out is not None:
        make_folder(out)
    notes = Console(stderr=True)
    _note(notes, chosen, ood)
    with photos_with_progress(notes, "photos") as report:
        scores = evaluate(loaded, chosen, report, ood, temperature)
    for reason in scores.unreadable.values():
        _say(notes, f"Not scored: {reason}")
    if as_json_:
        typer.echo(json.dumps(as_json(scores)))
    else:
        _print(scores, Console(), ood, temperature is not None)
    if out is not None:
        _say(notes, f"Saved to {out}: {', '.join(save_report(scores, out))}")
    if calibrate and folder is not None:
        settled = temperature or _worth_storing(scores)
        _say(notes, _calibrate(scores, folder, settled, unsure_below))
    if card and folder is not None:
        _say(notes, f"Saved to {folder}: {', '.join(save_card(scores, folder, licence, credit))}")


def _folder(ref: str, needed: bool) -> Path | None:
    """Where the checkpoint's files lie on this machine, for one that is a folder."""
    place = parse(ref)
    if isinstance(place, Path) and place.is_dir():
        return place
    if needed:
        raise OptionError(
            f"'{ref}' is no checkpoint folder on this machine, as --held-out, --calibrate and "
            "--card need; name such a folder, or leave them out."
        )
    return None


def _check_unseen(chosen: EvalSet) -> None:
    if chosen.trained_on is None:
        raise OptionError(
            f"{_untold(chosen)}, and a temperature fitted on them would boast; name the folder "
            "that it was trained on, with --held-out (new photos can be told from those only "
            f"where {SUMMARY} says in its 'data' where that folder is)."
        )
    if chosen.trained_on:
        raise OptionError(
            f"The checkpoint was trained on {chosen.trained_on} of these photos, and a temperature "
            "fitted on them would boast; add --held-out, or give other photos."
        )


def _listed(folder: Path | None, held_out: bool) -> frozenset[str]:
    """The held-out photos; without --held-out only to warn, so that there need be no list."""
    if folder is None or not (held_out or summary_of(folder)):
        return frozenset()
    return held_out_photos(folder)


def _note(console: Console, chosen: EvalSet, ood: bool) -> None:
    """What to know before believing the figures, a line each."""
    lines = []
    if chosen.trained_on is None:
        lines.append(f"{_untold(chosen)}, which would flatter it.")
    if chosen.trained_on:
        lines.append(
            f"The checkpoint was trained on {chosen.trained_on} of these photos, which flatters "
            "it; --held-out scores the others alone."
        )
    if chosen.missing:
        lines.append(f"{chosen.missing} of its held-out photos are not in '{chosen.folder}'.")
    if chosen.unknown:
        named = ", ".join(f"{name} ({count})" for name, count in chosen.unknown.items())
        done = "Scored as out-of-distribution" if ood else "Left out"
        lines.append(f"{done}, as the checkpoint does not know these classes: {named}.")
    for line in lines:
        _say(console, line)


def _untold(chosen: EvalSet) -> str:
    return (
        f"None of the checkpoint's held-out photos are in '{chosen.folder}', so it may have learnt "
        "from these"
    )


def _say(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)


def _worth_storing(scores: Evaluation) -> float:
    """The fitted temperature; DataError where it holds for no other photos, or there is none."""
    if scores.temperature is None:
        raise DataError(
            f"These {len(scores.samples)} photos settle no temperature: all are named rightly, or "
            "no better than by chance; score more photos, and --calibrate then."
        )
    if not scores.temperature_helps:
        raise DataError(
            f"A temperature fitted on some of these {len(scores.samples)} photos makes the others' "
            "probabilities no better, so none is stored; score more photos, and --calibrate then."
        )
    return scores.temperature


def _calibrate(scores: Evaluation, folder: Path, temperature: float, below: float | None) -> str:
    words = _doubt(scores) if below is None else f"; below {below:.1%} an answer is unsure"
    threshold = scores.unsure_below if below is None else below
    store_calibration(folder, Calibration(temperature, threshold))
    return f"Stored in {folder}: temperature {temperature:.3f}{words}."


def _print(scores: Evaluation, console: Console, ood: bool, asked_for: bool) -> None:
    content = as_json(scores)
    table = Table("class", "right", "of", "share", "95 %", "mistaken for", box=None)
    for row in content["classes"]:
        mistaken = ", ".join(f"{name} {count}" for name, count in row["mistaken_for"].items())
        # Labels come from the checkpoint: text, never markup.
        table.add_row(
            Text(row["label"]),
            str(row["right"]),
            str(row["total"]),
            f"{row['share']:.3f}",
            between(row["interval"]),
            Text(mistaken or "–"),
        )
    console.print(table)
    share = scores.accuracy
    _say(
        console,
        f"{share.right} of {share.total} photos are named rightly: {share.value:.3f} "
        f"(95 % {between(share.interval)}).",
    )
    lines = _calibration_lines(scores, asked_for)
    for line in (*lines, *(_strange_lines(scores) if ood else ())):
        _say(console, line)


def _calibration_lines(scores: Evaluation, asked_for: bool) -> list[str]:
    lines = [f"Calibration error {_judged(scores.raw)} with the logits as they are."]
    stated = scores.checkpoint.calibration.temperature
    if stated != 1:
        lines.append(f"Calibration error {_judged(scores.in_use)} as in use, at {stated:.3f}.")
    if scores.cross_fitted is None:
        lines.append("No temperature can be fitted on these photos.")
    else:
        lines.append(
            f"Calibration error {_judged(scores.cross_fitted)} with a fitted temperature, "
            "each photo judged by the others'."
        )
    if scores.temperature is not None:
        source = "As asked for," if asked_for else "Fitted on all of them"
        lines.append(f"{source} the temperature is {scores.temperature:.3f}{_doubt(scores)}.")
    return lines


def _strange_lines(scores: Evaluation) -> list[str]:
    met = scores.ood
    if met is None:
        return ["There are no photos of classes that it does not know."]
    return [
        f"Mean confidence {met.ood:.3f} in {met.below.total} photos of classes it does not "
        f"know, {met.known:.3f} in those it does; the latter is surer in {met.auroc:.1%} of "
        "all pairs.",
        f"These same photos are told apart best at {met.threshold:.1%}: {met.below.right} of the "
        f"{met.below.total} unknown lie below, {met.kept.right} of the {met.kept.total} known "
        "do not.",
    ]


def _doubt(scores: Evaluation) -> str:
    if scores.unsure_below is None or scores.unsure_answers is None:
        return ""
    return (
        f"; {KEPT:.0%} of the right answers then have {scores.unsure_below:.1%} or more, and "
        f"{scores.unsure_answers.right} of the {scores.unsure_answers.total} wrong ones less"
    )


def _judged(scored: Reliability) -> str:
    return f"{scored.error:.3f} ({between(scored.interval)}), loss {scored.loss:.3f},"
