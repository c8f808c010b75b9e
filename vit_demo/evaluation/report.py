"""An evaluation as a JSON object and as pictures in a folder."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from vit_demo.errors import OutputError
from vit_demo.evaluation.evaluate import Evaluation, Mistake
from vit_demo.evaluation.metrics import BINS, Reliability, Share, format_interval
from vit_demo.evaluation.temperature import FOLDS
from vit_demo.figures.scores import Panel, Tile, draw_confusion, draw_contact_sheet
from vit_demo.figures.scores import draw_reliability as draw_panels
from vit_demo.figures.sheet import save_figure
from vit_demo.photo import read_photo

SCORES, CONFUSION = "evaluation.json", "confusion.png"
RELIABILITY, MISTAKES = "reliability.png", "mistakes.png"

# Maximum number of photos on a contact sheet, and their size in pixels.
MOST_MISTAKES, THUMBNAIL = 12, 360


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """All scores. Shares are fractions, intervals are 95 % intervals, losses are in nats.

    `confusion` has the true classes in rows and the predicted classes in columns.
    """
    source, chosen = evaluation.checkpoint, evaluation.chosen
    return {
        "checkpoint": {
            "ref": source.ref,
            "revision": source.revision,
            "architecture": source.architecture,
            "layout": source.layout,
        },
        "data": chosen.folder.resolve().name,
        "photos": len(evaluation.samples),
        "held_out": chosen.held_out,
        "trained_on": chosen.trained_on,
        "missing": chosen.missing,
        "unknown": dict(chosen.unknown),
        "unreadable": [
            {"photo": path.relative_to(chosen.folder).as_posix(), "reason": reason}
            for path, reason in evaluation.unreadable.items()
        ],
        "accuracy": _share(evaluation.accuracy),
        "classes": _classes(evaluation),
        "confusion": {
            "labels": [source.labels[label] for label in evaluation.classes],
            "counts": evaluation.confusion().tolist(),
        },
        "calibration": _calibration(evaluation),
        "strangers": _ood(evaluation),
        "mistakes": [_mistake(mistake, chosen.folder) for mistake in evaluation.mistakes()],
    }


def _share(share: Share) -> dict[str, Any]:
    return {
        "right": share.right,
        "total": share.total,
        "share": share.value if share.total else None,
        "interval": list(share.interval),
    }


def _classes(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Every true class, with the classes that it was confused with, most frequent first."""
    labels = evaluation.checkpoint.labels
    wrong: dict[int, Counter[str]] = {label: Counter() for label in evaluation.truth.tolist()}
    pairs = zip(evaluation.truth.tolist(), evaluation.predicted.tolist(), strict=True)
    for true, predicted in pairs:
        if true != predicted:
            wrong[true][labels[predicted]] += 1
    return [
        {"label": labels[label]}
        | _share(evaluation.share(label))
        | {"mistaken_for": dict(wrong[label].most_common())}
        for label in sorted(wrong)
    ]


def _calibration(evaluation: Evaluation) -> dict[str, Any]:
    stored, crossed = evaluation.checkpoint.calibration, evaluation.cross_fitted
    return {
        "bins": BINS,
        "folds": FOLDS,
        "raw": _reliability(evaluation.raw),
        "in_use": stored.as_json() | _reliability(evaluation.in_use),
        "cross_fitted": None if crossed is None else _reliability(crossed),
        "temperature": evaluation.temperature,
        "unsure_below": evaluation.unsure_below,
        "doubted": None if evaluation.unsure_answers is None else _share(evaluation.unsure_answers),
    }


def _ood(evaluation: Evaluation) -> dict[str, Any] | None:
    report = evaluation.ood
    return report and {
        "classes": dict(evaluation.chosen.unknown),
        "confidence": report.ood,
        "confidence_in_known": report.known,
        "told_apart": report.auroc,
        "threshold": report.threshold,
        "below": _share(report.below),
        "kept": _share(report.kept),
    }


def _reliability(scored: Reliability) -> dict[str, Any]:
    return {
        "calibration_error": scored.error,
        "interval": list(scored.interval),
        "loss": scored.loss,
    }


def _mistake(mistake: Mistake, folder: Path) -> dict[str, Any]:
    return {
        "photo": mistake.photo.relative_to(folder).as_posix(),
        "true": mistake.truth,
        "said": mistake.predicted,
        "confidence": mistake.confidence,
    }


def save_report(evaluation: Evaluation, folder: Path) -> list[str]:
    """Write the scores as JSON and the figures as PNG into `folder`; returns the file names.

    A contact sheet of mistakes is included if there are any. Raises OutputError if the folder
    cannot be written to.
    """
    make_folder(folder)
    save_confusion(evaluation, folder)
    panels = [Panel(_panel_title("uncalibrated", evaluation.raw), evaluation.raw.bins)]
    if evaluation.cross_fitted is not None:
        crossed = evaluation.cross_fitted
        title = _panel_title("fitted temperature, cross-fitted", crossed)
        panels.append(Panel(title, crossed.bins))
    save_figure(draw_panels(panels), folder / RELIABILITY)
    worst = evaluation.mistakes()[:MOST_MISTAKES]
    if worst:
        title = f"{len(worst)} of {len(evaluation.mistakes())} mistakes, most confident first"
        save_figure(draw_contact_sheet(title, [_tile(m) for m in worst]), folder / MISTAKES)
    (folder / SCORES).write_text(
        json.dumps(as_json(evaluation), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return [CONFUSION, RELIABILITY, *([MISTAKES] if worst else []), SCORES]


def save_confusion(evaluation: Evaluation, folder: Path) -> None:
    """Write the confusion matrix as a picture into `folder`."""
    labels = [evaluation.checkpoint.labels[label] for label in evaluation.classes]
    save_figure(draw_confusion(labels, evaluation.confusion()), folder / CONFUSION)


def make_folder(folder: Path) -> None:
    """Create the output folder if needed; raises OutputError if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"'{folder}' cannot be created ({error.strerror}); name a folder that can be written "
            "to."
        ) from error


def _panel_title(title: str, scored: Reliability) -> str:
    return f"{title}\ncalibration error {scored.error:.3f} ({format_interval(scored.interval)})"


def _tile(mistake: Mistake) -> Tile:
    photo = read_photo(mistake.photo)
    photo.thumbnail((THUMBNAIL, THUMBNAIL))
    words = f"true: {mistake.truth}\npredicted: {mistake.predicted}, {mistake.confidence:.0%}"
    return Tile(photo, f"{words}\n{mistake.photo.name[:36]}")
