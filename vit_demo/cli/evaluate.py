"""`evaluate`: accuracy and calibration of a checkpoint on a folder of photos."""

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
from vit_demo.evaluation.metrics import Reliability, format_interval
from vit_demo.evaluation.report import as_json, make_folder, save_report
from vit_demo.evaluation.temperature import COLDEST, HOTTEST, KEPT
from vit_demo.publishing.model_card import check_card, save_card


def evaluate_command(
    data: Annotated[Path, typer.Option(help="A folder with one sub-folder of photos per class.")],
    checkpoint: CheckpointOption = DEFAULT,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Use only the photos held out from its training.")
    ] = False,
    ood: Annotated[
        bool, typer.Option("--ood", help="Also score photos of unknown classes.")
    ] = False,
    as_json_: JsonOption = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results, as JSON and as pictures.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Store the fitted temperature in the checkpoint.")
    ] = False,
    temperature: Annotated[
        float | None,
        typer.Option(min=COLDEST, max=HOTTEST, help="Use this one instead of the fitted one."),
    ] = None,
    unsure_below: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="With --calibrate: use this confidence threshold."),
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Write a model card into the checkpoint's folder.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option(help="The photos' license for the card, if not the run's.")
    ] = None,
    credit: Annotated[
        str | None, typer.Option(help="The photos' authors for the card, if not the run's.")
    ] = None,
    allow_pickle: PickleOption = False,
    preprocessing: PreprocessingOption = None,
    classes: ClassesOption = None,
) -> None:
    """Evaluate a checkpoint on photos in folders named after their classes."""
    folder = _folder(checkpoint, held_out or calibrate or card)
    loaded = load_with_progress(checkpoint, allow_pickle, preprocessing, classes)
    listed, training_folder = _listed(folder, held_out), folder and trained_in(folder)
    chosen = choose(data, loaded.labels, listed, held_out, training_folder)
    # Check everything that can fail before the long evaluation starts.
    if unsure_below is not None and not calibrate:
        raise OptionError("--unsure-below is stored with a temperature; add --calibrate.")
    if calibrate:
        _check_not_trained_on(chosen)
    if card and folder is not None:
        check_card(folder)
    if out is not None:
        make_folder(out)
    notes = Console(stderr=True)
    _note(notes, chosen, ood)
    with photos_with_progress(notes, "photos") as report:
        scores = evaluate(loaded, chosen, report, ood, temperature)
    for reason in scores.unreadable.values():
        _print_line(notes, f"Not scored: {reason}")
    if as_json_:
        typer.echo(json.dumps(as_json(scores)))
    else:
        _print(scores, Console(), ood, temperature is not None)
    if out is not None:
        _print_line(notes, f"Saved to {out}: {', '.join(save_report(scores, out))}")
    if calibrate and folder is not None:
        chosen_temperature = temperature or _worth_storing(scores)
        _print_line(notes, _calibrate(scores, folder, chosen_temperature, unsure_below))
    if card and folder is not None:
        saved = save_card(scores, folder, licence, credit)
        _print_line(notes, f"Saved to {folder}: {', '.join(saved)}")


def _folder(ref: str, needed: bool) -> Path | None:
    """The checkpoint's folder on this machine, or None if it is not a folder."""
    place = parse(ref)
    if isinstance(place, Path) and place.is_dir():
        return place
    if needed:
        raise OptionError(
            f"'{ref}' is not a checkpoint folder on this machine, which --held-out, --calibrate "
            "and --card need; name such a folder, or leave these options out."
        )
    return None


def _check_not_trained_on(chosen: EvalSet) -> None:
    if chosen.trained_on is None:
        raise OptionError(
            f"{_may_be_training_data(chosen)}, and a temperature fitted on training photos would "
            "be overconfident; give the folder that it was trained on, with --held-out. (Other "
            f"photos are accepted only if {SUMMARY} names that folder in its 'data'.)"
        )
    if chosen.trained_on:
        raise OptionError(
            f"The checkpoint was trained on {chosen.trained_on} of these photos, and a temperature "
            "fitted on training photos would be overconfident; add --held-out, or give other "
            "photos."
        )


def _listed(folder: Path | None, held_out: bool) -> frozenset[str]:
    """The held-out photos. Without --held-out they are only used to warn, so may be missing."""
    if folder is None or not (held_out or summary_of(folder)):
        return frozenset()
    return held_out_photos(folder)


def _note(console: Console, chosen: EvalSet, ood: bool) -> None:
    """Print warnings about the evaluation set, one per line."""
    lines = []
    if chosen.trained_on is None:
        lines.append(f"{_may_be_training_data(chosen)}; then the scores are too good.")
    if chosen.trained_on:
        lines.append(
            f"The checkpoint was trained on {chosen.trained_on} of these photos, so the scores are "
            "too good; --held-out uses only the others."
        )
    if chosen.missing:
        lines.append(f"{chosen.missing} of its held-out photos are not in '{chosen.folder}'.")
    if chosen.unknown:
        classes = ", ".join(f"{name} ({count})" for name, count in chosen.unknown.items())
        done = "Scored as out-of-distribution" if ood else "Skipped"
        lines.append(f"{done}, because the checkpoint does not know these classes: {classes}.")
    for line in lines:
        _print_line(console, line)


def _may_be_training_data(chosen: EvalSet) -> str:
    return (
        f"None of the checkpoint's held-out photos are in '{chosen.folder}', so it may have been "
        "trained on these"
    )


def _print_line(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)


def _worth_storing(scores: Evaluation) -> float:
    """The fitted temperature; DataError if there is none or it does not help on other photos."""
    if scores.temperature is None:
        raise DataError(
            f"No temperature can be fitted on these {len(scores.samples)} photos: all are "
            "classified correctly, or no better than by chance; use --calibrate with more photos."
        )
    if not scores.temperature_helps:
        raise DataError(
            f"A temperature fitted on some of these {len(scores.samples)} photos does not improve "
            "the probabilities of the others, so none is stored; use --calibrate with more photos."
        )
    return scores.temperature


def _calibrate(scores: Evaluation, folder: Path, temperature: float, below: float | None) -> str:
    effect = _threshold_effect(scores) if below is None else f"; unsure below {below:.1%}"
    threshold = scores.unsure_below if below is None else below
    store_calibration(folder, Calibration(temperature, threshold))
    return f"Stored in {folder}: temperature {temperature:.3f}{effect}."


def _print(scores: Evaluation, console: Console, ood: bool, given: bool) -> None:
    content = as_json(scores)
    table = Table("class", "correct", "of", "accuracy", "95 %", "confused with", box=None)
    for row in content["classes"]:
        mistaken = ", ".join(f"{name} {count}" for name, count in row["mistaken_for"].items())
        # Labels come from the checkpoint and must not be parsed as markup.
        table.add_row(
            Text(row["label"]),
            str(row["right"]),
            str(row["total"]),
            f"{row['share']:.3f}",
            format_interval(row["interval"]),
            Text(mistaken or "–"),
        )
    console.print(table)
    share = scores.accuracy
    _print_line(
        console,
        f"{share.right} of {share.total} photos are classified correctly: {share.value:.3f} "
        f"(95 % {format_interval(share.interval)}).",
    )
    lines = _calibration_lines(scores, given)
    for line in (*lines, *(_ood_lines(scores) if ood else ())):
        _print_line(console, line)


def _calibration_lines(scores: Evaluation, given: bool) -> list[str]:
    lines = [f"Calibration error {_reliability(scores.raw)} with uncalibrated logits."]
    stored = scores.checkpoint.calibration.temperature
    if stored != 1:
        lines.append(
            f"Calibration error {_reliability(scores.in_use)} with the stored temperature "
            f"{stored:.3f}."
        )
    if scores.cross_fitted is None:
        lines.append("No temperature can be fitted on these photos.")
    else:
        lines.append(
            f"Calibration error {_reliability(scores.cross_fitted)} with a fitted temperature "
            "(cross-fitted: fitted on other photos than it is measured on)."
        )
    if scores.temperature is not None:
        source = "The given temperature" if given else "The temperature fitted on all photos"
        effect = _threshold_effect(scores)
        lines.append(f"{source} is {scores.temperature:.3f}{effect}.")
    return lines


def _ood_lines(scores: Evaluation) -> list[str]:
    report = scores.ood
    if report is None:
        return ["There are no photos of unknown classes."]
    return [
        f"Mean confidence {report.ood:.3f} on {report.below.total} photos of unknown classes, "
        f"{report.known:.3f} on photos of known classes; AUROC {report.auroc:.3f}.",
        f"The best threshold on these photos is {report.threshold:.1%}: {report.below.right} of "
        f"the {report.below.total} photos of unknown classes are below it, {report.kept.right} of "
        f"the {report.kept.total} photos of known classes are not.",
    ]


def _threshold_effect(scores: Evaluation) -> str:
    if scores.unsure_below is None or scores.unsure_answers is None:
        return ""
    return (
        f"; {KEPT:.0%} of the correct predictions then have a confidence of at least "
        f"{scores.unsure_below:.1%}, and {scores.unsure_answers.right} of the "
        f"{scores.unsure_answers.total} wrong ones have less"
    )


def _reliability(scored: Reliability) -> str:
    return f"{scored.error:.3f} ({format_interval(scored.interval)}), loss {scored.loss:.3f},"
