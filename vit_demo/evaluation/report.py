"""An evaluation as one JSON object, and as pictures in a folder."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from vit_demo.errors import OutputError
from vit_demo.evaluation.evaluate import Evaluation, Mistake
from vit_demo.evaluation.metrics import BINS, Reliability, Share, between
from vit_demo.evaluation.temperature import FOLDS
from vit_demo.figures.scores import Panel, Tile, draw_confusion, draw_contact_sheet
from vit_demo.figures.scores import draw_reliability as draw_panels
from vit_demo.figures.sheet import save_figure
from vit_demo.photo import read_photo

SCORES, CONFUSION = "evaluation.json", "confusion.png"
RELIABILITY, MISTAKES = "reliability.png", "mistakes.png"

# On one contact sheet, and how large its photos are, in pixels.
MOST_MISTAKES, THUMBNAIL = 12, 360


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """All figures. Shares are of one, intervals 95 %, losses in nats; `confusion` has the true
    classes in rows and the answers in columns."""
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
    """Every class that was looked for, with what its photos were mistaken for, the most first."""
    labels = evaluation.checkpoint.labels
    wrong: dict[int, Counter[str]] = {label: Counter() for label in evaluation.truth.tolist()}
    for true, said in zip(evaluation.truth.tolist(), evaluation.said.tolist(), strict=True):
        if true != said:
            wrong[true][labels[said]] += 1
    return [
        {"label": labels[label]}
        | _share(evaluation.share(label))
        | {"mistaken_for": dict(wrong[label].most_common())}
        for label in sorted(wrong)
    ]


def _calibration(evaluation: Evaluation) -> dict[str, Any]:
    stated, fair = evaluation.checkpoint.calibration, evaluation.cross_fitted
    return {
        "bins": BINS,
        "folds": FOLDS,
        "raw": _reliability(evaluation.raw),
        "in_use": stated.as_json() | _reliability(evaluation.in_use),
        "cross_fitted": None if fair is None else _reliability(fair),
        "temperature": evaluation.temperature,
        "unsure_below": evaluation.unsure_below,
        "doubted": None if evaluation.unsure_answers is None else _share(evaluation.unsure_answers),
    }


def _ood(evaluation: Evaluation) -> dict[str, Any] | None:
    met = evaluation.ood
    return met and {
        "classes": dict(evaluation.chosen.unknown),
        "confidence": met.ood,
        "confidence_in_known": met.known,
        "told_apart": met.auroc,
        "threshold": met.threshold,
        "below": _share(met.below),
        "kept": _share(met.kept),
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
        "said": mistake.said,
        "confidence": mistake.confidence,
    }


def save_report(evaluation: Evaluation, folder: Path) -> list[str]:
    """Write the figures as JSON and PNG into `folder`; the names of the files.

    A contact sheet is among them where there are mistakes. Raises OutputError where the folder
    cannot be written to.
    """
    make_folder(folder)
    save_confusion(evaluation, folder)
    panels = [Panel(_words("logits as they are", evaluation.raw), evaluation.raw.bins)]
    if evaluation.cross_fitted is not None:
        fair = evaluation.cross_fitted
        panels.append(Panel(_words("with a fitted temperature, cross-fitted", fair), fair.bins))
    save_figure(draw_panels(panels), folder / RELIABILITY)
    worst = evaluation.mistakes()[:MOST_MISTAKES]
    if worst:
        title = f"{len(worst)} of {len(evaluation.mistakes())} mistakes, the surest first"
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
    """Make sure that there is a folder to write to; raises OutputError where there cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"'{folder}' cannot be made ({error.strerror}); name a folder that can be written to."
        ) from error


def _words(title: str, scored: Reliability) -> str:
    return f"{title}\ncalibration error {scored.error:.3f} ({between(scored.interval)})"


def _tile(mistake: Mistake) -> Tile:
    photo = read_photo(mistake.photo)
    photo.thumbnail((THUMBNAIL, THUMBNAIL))
    words = f"is {mistake.truth}\nsaid {mistake.said}, {mistake.confidence:.0%}"
    return Tile(photo, f"{words}\n{mistake.photo.name[:36]}")
