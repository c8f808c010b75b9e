"""The model card: what a checkpoint is, how it was made, and how it scores, in the Hub's format."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vit_demo.checkpoints.calibration import Calibration, read_calibration
from vit_demo.checkpoints.files import BEST, CONFIG, read_json
from vit_demo.errors import OutputError
from vit_demo.evaluation.eval_set import summary_of
from vit_demo.evaluation.evaluate import Evaluation
from vit_demo.evaluation.metrics import between
from vit_demo.evaluation.report import CONFUSION, as_json, save_confusion
from vit_demo.training.plan import NOT_STATED

CARD = "README.md"

# What training.json counts, and how it is said.
COUNTED = {
    "training": "to learn from",
    "held_out": "held out",
    "unreadable": "unreadable and left out",
    "duplicates": "on both sides of the split",
}

# By this line a card that was written here is known, and only such a card is written over.
MARK = "<!-- Written by `python -m vit_demo evaluate --card`. -->"

# The Hub takes licences by its own identifiers; any other one is "other" to it.
HUB_LICENCES = {
    "apache-2.0", "mit", "cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-4.0",
}  # fmt: skip


def save_card(
    evaluation: Evaluation, folder: Path, licence: str | None = None, credit: str | None = None
) -> list[str]:
    """Write the card and its picture into a checkpoint's folder; the names of the files.

    A `licence` or `credit` that is not given is the one that the run was told. Raises OutputError
    where a card lies there that somebody else wrote.
    """
    check_card(folder)
    path = folder / CARD
    log = summary_of(folder)
    summary = read_json(log, f"'{folder}'") if log else {}
    text = card(
        name=folder.resolve().name,
        scores=as_json(evaluation),
        labels=evaluation.checkpoint.labels,
        calibration=read_calibration(read_json(folder / CONFIG, f"'{folder}'"), f"'{folder}'"),
        summary=summary,
        chosen_on_them=folder.resolve().name == BEST,
        licence=licence or summary.get("licence", NOT_STATED),
        credit=credit or summary.get("credit", NOT_STATED),
    )
    save_confusion(evaluation, folder)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written ({error.strerror}).") from error
    return [CARD, CONFUSION]


def check_card(folder: Path) -> None:
    """Raise OutputError where writing a card would destroy one that somebody else wrote."""
    path = folder / CARD
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise OutputError(
            f"'{path}' was not written by this command and is left as it is; move it away to have "
            "another one written."
        )


def card(
    name: str,
    scores: Mapping[str, Any],
    labels: tuple[str, ...],
    calibration: Calibration,
    summary: Mapping[str, Any],
    licence: str = NOT_STATED,
    credit: str = NOT_STATED,
    chosen_on_them: bool = False,
) -> str:
    """The whole card. `scores` are those of `report.as_json`, `summary` is training.json.

    `chosen_on_them` says that the epoch was chosen on the held-out photos. The card says what
    these say and nothing else; what they leave out is "not recorded".
    """
    parts = (
        front_matter(name, scores, licence),
        MARK,
        _about(name, scores, labels),
        "\n".join(_making(summary)),
        "\n".join(_scoring(scores, chosen_on_them)),
        "\n".join((*_honesty(scores, calibration), *_ood(scores))),
        f"## The photos\n\n* **Licence.** {licence}\n* **Credit.** {credit}",
        _limits(len(labels)),
    )
    return "\n\n".join(parts) + "\n"


def front_matter(name: str, scores: Mapping[str, Any], licence: str) -> str:
    """What the Hub itself reads, in YAML: free text is quoted as JSON, which YAML contains.

    Its calibration error is that of the logits as they are, as other libraries use them.
    """
    scored = scores["calibration"]["raw"]
    lines = [
        f"library_name: {scores['checkpoint']['layout']}",
        "pipeline_tag: image-classification",
        "tags:",
        "- vision-transformer",
        "metrics:",
        "- accuracy",
        "model-index:",
        f"- name: {_quoted(name)}",
        "  results:",
        "  - task:",
        "      type: image-classification",
        "    dataset:",
        "      type: imagefolder",
        f"      name: {_quoted(scores['data'])}",
        "    metrics:",
        "    - type: accuracy",
        f"      value: {scores['accuracy']['share']!r}",
        "    - type: expected_calibration_error",
        f"      value: {scored['calibration_error']!r}",
    ]
    if licence != NOT_STATED:
        lines.insert(0, f"license: {licence if licence in HUB_LICENCES else 'other'}")
    return "\n".join(["---", *lines, "---"])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _about(name: str, scores: Mapping[str, Any], labels: tuple[str, ...]) -> str:
    source = scores["checkpoint"]
    return (
        f"# {name}\n\nNames {len(labels)} classes: {', '.join(labels)}. {source['architecture']}, "
        f"in the layout of {source['layout']}."
    )


def _making(summary: Mapping[str, Any]) -> Iterator[str]:
    """How it was trained, as far as its log says so."""
    yield "## How it was made\n"
    if not summary:
        yield "Not recorded."
        return
    photos, epochs = summary.get("photos", {}), summary.get("epochs", [])
    counts = [f"{photos[kind]:,} {words}" for kind, words in COUNTED.items() if kind in photos]
    yield f"* **Start.** {summary.get('weights') or 'not recorded'}"
    yield f"* **Photos.** {', '.join(counts) or 'not recorded'}"
    yield f"* **Epochs.** {len(epochs) or 'not recorded'}"
    minutes = summary.get("minutes")
    yield f"* **Time.** {'not recorded' if minutes is None else f'{minutes} minutes'}"
    yield f"* **Recipe.** {_recipe(summary.get('recipe', {})) or 'not recorded'}"
    command = summary.get("command")
    yield "* **Command.** not recorded" if not command else f"\n```\n{command}\n```"


def _recipe(recipe: Mapping[str, Any]) -> str:
    """Every setting and its value; what is nested comes with its own names."""
    words = []
    for key, value in recipe.items():
        text = f"({_recipe(value)})" if isinstance(value, Mapping) else str(value)
        words.append(f"{key.replace('_', ' ')} {text}")
    return ", ".join(words)


def _scoring(scores: Mapping[str, Any], chosen_on_them: bool) -> Iterator[str]:
    """Accuracy with its interval, class by class."""
    accuracy = scores["accuracy"]
    which = "held-out photos" if scores["held_out"] else f"photos in {scores['data']}"
    yield "## How it scores\n"
    yield (
        f"**{accuracy['right']} of {accuracy['total']} {which}, {accuracy['share']:.3f}** "
        f"(95 % interval, Wilson: {between(accuracy['interval'])}).\n"
    )
    if scores["held_out"] and chosen_on_them:
        yield "The epoch was chosen on the same photos, which flatters it a little.\n"
    if scores["trained_on"] is None:
        yield "It may have been trained on some of these photos, which would flatter it.\n"
    elif scores["trained_on"]:
        yield f"It was trained on {scores['trained_on']} of these photos, which flatters it.\n"
    if scores["unreadable"]:
        yield f"{len(scores['unreadable'])} photos could not be read and are not counted.\n"
    yield "| class | right | share | 95 % | mistaken for |\n|---|---|---|---|---|"
    for row in scores["classes"]:
        mistaken = ", ".join(f"{name} {count}" for name, count in row["mistaken_for"].items())
        cells = (
            row["label"],
            f"{row['right']} of {row['total']}",
            f"{row['share']:.3f}",
            between(row["interval"]),
            mistaken,
        )
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
    yield f"\n![Photos by class and answer]({CONFUSION})"


def _honesty(scores: Mapping[str, Any], calibration: Calibration) -> Iterator[str]:
    """What its probabilities are worth."""
    scored = scores["calibration"]
    yield "## How far its probabilities can be believed\n"
    yield (
        f"Expected calibration error ({scored['bins']} bins), logits as they are: "
        f"{_error(scored['raw'])}."
    )
    if scored["cross_fitted"] is not None:
        yield (
            f"With a temperature fitted on other photos than those it is judged on "
            f"({scored['folds']} folds): {_error(scored['cross_fitted'])}."
        )
    if calibration == Calibration():
        yield "No temperature is stored."
        return
    yield f"Its configuration states the temperature {calibration.temperature:.3f}, by which"
    yield "vit_demo divides the logits; other libraries do not."
    if calibration.unsure_below is not None:
        yield f"Answers below {calibration.unsure_below:.0%} are called unsure."


def _ood(scores: Mapping[str, Any]) -> Iterator[str]:
    """What it makes of classes that it does not know, where it has met some."""
    met = scores["strangers"]
    if met:
        classes = ", ".join(f"{name} ({count})" for name, count in met["classes"].items())
        yield (
            f"\nMean confidence in photos of classes it does not know, {classes}: "
            f"{met['confidence']:.3f}; in those it does: {met['confidence_in_known']:.3f}. The "
            f"latter is surer in {met['told_apart']:.1%} of all pairs."
        )


def _limits(classes: int) -> str:
    return (
        "## What it cannot do\n\n"
        f"It knows these {classes} classes. Any other picture gets one of their names."
    )


def _error(scored: Mapping[str, Any]) -> str:
    return f"{scored['calibration_error']:.3f} (95 %, bootstrap: {between(scored['interval'])})"
