"""Text and pictures for an analysis; the page, exported files and slides share them."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from vit_demo.analysis import TOP, Analysis
from vit_demo.checkpoints import Checkpoint, CheckpointInfo
from vit_demo.explanations import METHODS
from vit_demo.faithfulness import FIGURES, ScoresVsRandom
from vit_demo.figures import ColourScale, Sheet, draw_overlay, draw_patches
from vit_demo.figures.colour import PERCENTILE
from vit_demo.predictions import Prediction
from vit_demo.preprocess import enlargement

SMOOTHED = "Smoothed (display only): the model has one value per patch."

# A photo is called small if it must be enlarged more than this in one direction.
LARGEST_ENLARGEMENT = 4

# Display names of the faithfulness scores.
NAMES = {"deletion": "Deletion", "insertion": "Insertion", "saco": "SaCo"}


@dataclass(frozen=True)
class Picture:
    """A map over its photo, with its color scale, its unit and a caption that states its limits."""

    image: Image.Image
    scale: ColourScale
    unit: str
    caption: str
    percent: bool = True

    def number(self, value: float) -> str:
        """One value of the map as text."""
        return written(value, self.percent)


@dataclass(frozen=True)
class Measured:
    """One faithfulness score of a map and of a random map, as text."""

    name: str
    mine: str
    noise: str
    hint: str
    better: bool

    @property
    def words(self) -> str:
        """The scores in one line."""
        return f"{self.name} {self.mine}, noise {self.noise} ({self.hint})"


def picture(analysis: Analysis, smooth: bool = False) -> Picture:
    """Draw the map over the photo, as flat patches or `smooth`."""
    scale = ColourScale.of(analysis.heatmap, analysis.signed)
    image = draw_overlay(
        analysis.photo,
        analysis.heatmap,
        analysis.grid_box,
        scale,
        analysis.input_box,
        smooth=smooth,
    )
    words = caption(analysis, scale) + (f" {SMOOTHED}" if smooth else "")
    return Picture(image, scale, unit(analysis), words, in_percent(analysis))


def patches(analysis: Analysis) -> Image.Image:
    """The input picture, cut into its patches."""
    cell = analysis.checkpoint.model.config.cell
    return draw_patches(analysis.picture, cell, analysis.grid)


def input_description(analysis: Analysis) -> str:
    """The model's input in one sentence: which part of the photo, its size and its patches."""
    rows, cols = analysis.grid
    height, width = analysis.picture.height, analysis.picture.width
    side = analysis.checkpoint.model.config.cell
    part = "The whole photo" if _covers_photo(analysis) else "The center of the photo"
    return (
        f"{part}, resized to {width} × {height} pixels and cut into {rows} × {cols} patches of "
        f"{side} × {side}. These pixels are all that the model gets."
    )


def _covers_photo(analysis: Analysis) -> bool:
    """Whether patches inside the model's input cover the photo to within one pixel."""
    grid, inside = analysis.grid_box, analysis.input_box
    left, top = max(grid[0], inside[0]), max(grid[1], inside[1])
    right, bottom = min(grid[2], inside[2]), min(grid[3], inside[3])
    margin = max(left, top, analysis.photo.width - right, analysis.photo.height - bottom)
    return margin < 1


def sheet(analysis: Analysis, smooth: bool = False) -> Sheet:
    """Photo, map and most likely classes on one slide."""
    drawn = picture(analysis, smooth)
    best = analysis.predictions[0]
    unsure = "unsure: " if analysis.unsure else ""
    answer = f"{unsure}{best.label} {best.written()}"
    lines = (unsure_note(analysis), problem_note(analysis), drawn.caption, source(analysis))
    return Sheet(
        title=f"{answer} · {METHODS[analysis.method].heading}: {title(analysis)}",
        caption="\n".join(line for line in lines if line),
        unit=drawn.unit,
        photo=analysis.photo,
        overlay=drawn.image,
        scale=drawn.scale,
        classes=class_bars(analysis.predictions),
        percent=drawn.percent,
        class_percent=analysis.checkpoint.model.problem != "regression",
    )


def title(analysis: Analysis) -> str:
    """The method, the classes that it explains and the options that differ from the defaults."""
    method = METHODS[analysis.method]
    defaults = method.options({}, analysis.checkpoint.model)
    changed = [f"{k} {v}" for k, v in analysis.options.items() if v != defaults[k]]
    target = f" for {analysis.target.label}" if analysis.target and method.class_specific else ""
    versus = f" compared with {analysis.versus.label}" if analysis.versus else ""
    return f"{analysis.method}{target}{versus}" + (f" ({', '.join(changed)})" if changed else "")


def class_bars(predictions: Sequence[Prediction]) -> list[tuple[str, float]]:
    """Labels and scores of the top classes on a sheet."""
    bars = []
    for each in predictions[:TOP]:
        number = each.value if each.probability is None else each.probability
        if number is not None:
            bars.append((each.label, number))
    return bars


def problem_note(analysis: Analysis) -> str:
    """A note on how to read the scores of the classes, if they are not softmax probabilities."""
    match analysis.checkpoint.model.problem:
        case "multi_label" if len(analysis.predictions) == 1:
            return "One class, present or not: its probability is the sigmoid of its logit."
        case "multi_label":
            return "Each class has its own probability (sigmoid); they do not sum to one."
        case "regression":
            return "Regression: the model predicts a value, not a probability."
    return ""


def in_percent(analysis: Analysis) -> bool:
    """Whether a map's values are percentages; differences of a regression's values are not."""
    method = METHODS[analysis.method]
    number = analysis.checkpoint.model.problem == "regression" and not method.follows_flows
    return method.percent and not (number and method.signed)


def unit(analysis: Analysis) -> str:
    """What the color bar measures."""
    rows, cols = analysis.grid
    measure = METHODS[analysis.method].unit
    if analysis.checkpoint.model.problem == "regression":
        measure = measure.replace("probability", "value")
    if analysis.target and analysis.versus:
        return f"{measure}, {analysis.target.label} minus {analysis.versus.label}"
    if METHODS[analysis.method].signed:
        return measure
    return f"{measure} (uniform: {1 / (rows * cols):.2%})"


def written(value: float, percent: bool) -> str:
    """A value of a map as text: shares and probabilities in percent, logits as plain numbers."""
    return (f"{value:.2%}" if percent else f"{value:.3g}").replace("-", "\u2212")


def caption(analysis: Analysis, scale: ColourScale) -> str:
    """What the map shows, its source, its limits and how its colors were scaled."""
    method = METHODS[analysis.method]
    small = small_photo(analysis)
    parts = [small] if small else []
    parts.append(f"{method.summary} Source: {method.source}.")
    if analysis.target and analysis.versus:
        one, other = analysis.target.label, analysis.versus.label
        parts.append(f"The map for {one} minus the map for {other}: positive values favor {one}.")
    if method.reading:
        parts.append(method.reading)
    if not _covers_photo(analysis):
        parts.append("The darkened border is not part of the model's input.")
    if not analysis.exact:
        parts.append("Approximate for this architecture.")
    if scale.clipped:
        beyond = "patch is" if scale.clipped == 1 else "patches are"
        parts.append(
            f"Colors are clipped at the {PERCENTILE:g}th percentile; {scale.clipped} {beyond} "
            "beyond it."
        )
    return " ".join(parts)


def account(analysis: Analysis) -> str:
    """The sum of which the map is one term, in one line; empty for methods without such a sum."""
    total = analysis.account
    if total is None or analysis.target is None:
        return ""
    parts = {
        "patches": float(total.patches.sum()),
        "class token" if len(total.prefix_tokens) == 1 else "prefix tokens": float(
            total.prefix_tokens.sum()
        ),
        "MLPs": total.mlps,
        "embedding": total.embedding,
        "biases": total.biases,
    }
    terms = ", ".join(f"{name} {_number(value)}" for name, value in parts.items())
    minus = " minus the mean of all classes"
    if analysis.checkpoint.model.problem != "single_label":
        minus = ""
    if analysis.versus:
        minus = f" minus that of {analysis.versus.label}"
    return (
        f"The logit of {analysis.target.label}{minus} is {_number(total.centred_logit)}: {terms}."
    )


def small_photo(analysis: Analysis) -> str:
    """A note that the photo has far fewer pixels than the model's input; empty if it has enough."""
    photo, height, width = analysis.photo, analysis.picture.height, analysis.picture.width
    if enlargement(analysis.input_box, (height, width)) <= LARGEST_ENLARGEMENT:
        return ""
    count = f"{photo.width} × {photo.height} pixel{'' if photo.size == (1, 1) else 's'}"
    return (
        f"The photo has only {count}; the model reads {width} × {height}, so most of its input is "
        "interpolated."
    )


def verdict(trust: ScoresVsRandom) -> str:
    """In how many faithfulness tests a map is better than a random map."""
    better = sum(trust.better(figure) for figure in FIGURES)
    count = {0: "none", len(FIGURES): "all"}.get(better, str(better))
    return f"On this photo the map is better than noise in {count} of the {len(FIGURES)} tests."


def tracked_probability(analysis: Analysis) -> str:
    """Which number the faithfulness tests of this analysis track."""
    target = (analysis.target or analysis.predictions[0]).label
    if analysis.checkpoint.model.problem == "regression":
        versus = f" minus that of {analysis.versus.label}" if analysis.versus else ""
        return f"the value of {target}{versus}"
    versus = f" as against {analysis.versus.label}" if analysis.versus else ""
    return f"the probability of {target}{versus}"


def evidence(trust: ScoresVsRandom) -> list[Measured]:
    """Each faithfulness score of the map beside that of a random map."""
    return [
        Measured(
            name=NAMES[figure],
            mine=_number(trust.scores.figure(figure)),
            noise=_number(trust.control.figure(figure)),
            hint="higher is better" if higher else "lower is better",
            better=trust.better(figure),
        )
        for figure, higher in FIGURES.items()
    ]


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "\u2212")


def protocol(trust: ScoresVsRandom, analysis: Analysis) -> str:
    """How the scores were measured, and how far they can be trusted."""
    deleted = "dropped" if trust.drops else "replaced by the photo's mean color"
    return (
        f"We track {tracked_probability(analysis)} while patches are changed in {trust.steps} "
        f"steps, the most important first: they are {deleted} (deletion), or put back into the "
        "blurred photo (insertion). SaCo masks one group of patches at a time and checks that "
        "groups with larger values in the map have a larger effect. One photo and one random map "
        "are a first look, not a proof: of two random maps, each wins about half of the tests."
    )


def source(analysis: Analysis) -> str:
    """The checkpoint of an analysis, its commit and its architecture."""
    return source_of(analysis.checkpoint)


def source_of(checkpoint: Checkpoint | CheckpointInfo) -> str:
    """A checkpoint, its commit and its architecture."""
    commit = f" at {checkpoint.revision}" if checkpoint.revision else ""
    return f"{checkpoint.ref}{commit} · {checkpoint.architecture}"


def reading_notes(checkpoint: Checkpoint | CheckpointInfo) -> tuple[str, ...]:
    """Notes on what had to be guessed or was overridden when a checkpoint was loaded."""
    how = checkpoint.preprocessing.words
    match checkpoint.preprocessing_source:
        case "guess":
            note = (
                "Guessed: no file of this checkpoint says how photos are prepared, so they are "
                f"prepared as is usual for its family: {how}. If it was trained otherwise, its "
                "answers are wrong: start with --preprocessing, or put a preprocessor_config.json "
                "beside the weights."
            )
            return (note, *checkpoint.notes)
        case "option":
            return (f"Photos are prepared as you asked: {how}.", *checkpoint.notes)
    return checkpoint.notes


def unsure_note(analysis: Analysis) -> str:
    """A note that the prediction is unsure, with the known classes; empty if it is not unsure."""
    threshold = analysis.checkpoint.calibration.unsure_below
    if threshold is None or not analysis.unsure:
        return ""
    return (
        f"Unsure: the most likely class has only {analysis.predictions[0].written()}, and "
        f"below {threshold:.0%} this checkpoint's predictions are unreliable; "
        f"it {known_classes(analysis.checkpoint.labels)}."
    )


def known_classes(labels: tuple[str, ...], most: int = 12) -> str:
    """The classes that a checkpoint knows, in one line."""
    listed = ", ".join(labels[:most]) + (", …" if len(labels) > most else "")
    return f"knows {len(labels)} class{'es' * (len(labels) != 1)}: {listed}"
