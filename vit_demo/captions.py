"""An analysis in words and pictures, the same ones on the page, in a file and in a talk."""

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

# A photo of fewer than a quarter of the input's pixels, down or across, is called small.
LARGEST_ENLARGEMENT = 4

# The figures of faithfulness, as they are written.
NAMES = {"deletion": "Deletion", "insertion": "Insertion", "saco": "SaCo"}


@dataclass(frozen=True)
class Picture:
    """A map over its photo, what its colours stand for, and what to know before believing it."""

    image: Image.Image
    scale: ColourScale
    unit: str
    caption: str
    percent: bool = True

    def number(self, value: float) -> str:
        """One value of the map, as it is written."""
        return written(value, self.percent)


@dataclass(frozen=True)
class Measured:
    """One figure of a map and of noise, as they are written."""

    name: str
    mine: str
    noise: str
    hint: str
    better: bool

    @property
    def words(self) -> str:
        """All of it in one line."""
        return f"{self.name} {self.mine}, noise {self.noise} ({self.hint})"


def picture(analysis: Analysis, smooth: bool = False) -> Picture:
    """Lay the map over the photo, patch by patch or `smooth`."""
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
    """The patches that the model was given."""
    cell = analysis.checkpoint.model.config.cell
    return draw_patches(analysis.picture, cell, analysis.grid)


def input_description(analysis: Analysis) -> str:
    """What the model was given, in numbers."""
    rows, cols = analysis.grid
    height, width = analysis.picture.height, analysis.picture.width
    side = analysis.checkpoint.model.config.cell
    seen = "the whole photo" if _whole(analysis) else "the middle of the photo"
    return (
        f"{seen[0].upper()}{seen[1:]}, brought to {width} × {height} pixels and cut into "
        f"{rows} × {cols} patches of {side} × {side}. These are its pixels: it sees nothing finer."
    )


def _whole(analysis: Analysis) -> bool:
    box, seen = analysis.grid_box, analysis.input_box
    left, top = max(box[0], seen[0]), max(box[1], seen[1])
    right, bottom = min(box[2], seen[2]), min(box[3], seen[3])
    spare = max(left, top, analysis.photo.width - right, analysis.photo.height - bottom)
    return spare < 1


def sheet(analysis: Analysis, smooth: bool = False) -> Sheet:
    """Photo, map and likeliest classes on one slide."""
    drawn = picture(analysis, smooth)
    best = analysis.predictions[0]
    unsure = "unsure: " if analysis.unsure else ""
    named = f"{unsure}{best.label} {best.written()}"
    words = (unsure_note(analysis), problem_note(analysis), drawn.caption, source(analysis))
    return Sheet(
        title=f"{named} · {METHODS[analysis.method].heading}: {title(analysis)}",
        caption="\n".join(line for line in words if line),
        unit=drawn.unit,
        photo=analysis.photo,
        overlay=drawn.image,
        scale=drawn.scale,
        classes=class_bars(analysis.predictions),
        percent=drawn.percent,
        class_percent=analysis.checkpoint.model.problem != "regression",
    )


def title(analysis: Analysis) -> str:
    """The method, the classes it was asked about and the options that were changed."""
    method = METHODS[analysis.method]
    usual = method.options({}, analysis.checkpoint.model)
    changed = [f"{k} {v}" for k, v in analysis.options.items() if v != usual[k]]
    asked = f" for {analysis.target.label}" if analysis.target and method.class_specific else ""
    against = f" compared with {analysis.versus.label}" if analysis.versus else ""
    return f"{analysis.method}{asked}{against}" + (f" ({', '.join(changed)})" if changed else "")


def class_bars(predictions: Sequence[Prediction]) -> list[tuple[str, float]]:
    """Labels and numbers of the classes that a sheet lists."""
    found = []
    for each in predictions[:TOP]:
        number = each.value if each.probability is None else each.probability
        if number is not None:
            found.append((each.label, number))
    return found


def problem_note(analysis: Analysis) -> str:
    """What the numbers of the listed classes are, where they are no shares of one."""
    match analysis.checkpoint.model.problem:
        case "multi_label" if len(analysis.predictions) == 1:
            return "One class, which is there or not: its probability is the sigmoid of its logit."
        case "multi_label":
            return "Every class has a probability of its own (sigmoid); they do not sum to one."
        case "regression":
            return "Regression: the model gives a number, and no probability."
    return ""


def in_percent(analysis: Analysis) -> bool:
    """Whether a map's values are written as percentages: numbers of a regression are not."""
    method = METHODS[analysis.method]
    number = analysis.checkpoint.model.problem == "regression" and not method.follows_flows
    return method.percent and not (number and method.signed)


def unit(analysis: Analysis) -> str:
    """What the colour bar measures."""
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
    """A value of a map: a share or a probability in percent, a part of a logit as it is."""
    return (f"{value:.2%}" if percent else f"{value:.3g}").replace("-", "\u2212")


def caption(analysis: Analysis, scale: ColourScale) -> str:
    """Where the map comes from and how its colours were chosen."""
    method = METHODS[analysis.method]
    small = small_photo(analysis)
    parts = [small] if small else []
    parts.append(f"{method.summary} Source: {method.source}.")
    if analysis.target and analysis.versus:
        one, other = analysis.target.label, analysis.versus.label
        parts.append(f"The map for {one} minus the map for {other}: above zero it favors {one}.")
    if method.reading:
        parts.append(method.reading)
    if not _whole(analysis):
        parts.append("The model does not see the dark part at the edge.")
    if not analysis.exact:
        parts.append("Approximate for this architecture.")
    if scale.clipped:
        several = "patch lies" if scale.clipped == 1 else "patches lie"
        parts.append(
            f"Colors are clipped at the {PERCENTILE:g}th percentile; {scale.clipped} {several} "
            "beyond."
        )
    return " ".join(parts)


def account(analysis: Analysis) -> str:
    """The sum that the map is a part of, in one line; empty for a map that is part of none."""
    whole = analysis.account
    if whole is None or analysis.target is None:
        return ""
    parts = {
        "patches": float(whole.patches.sum()),
        "class token" if len(whole.prefix_tokens) == 1 else "prefix tokens": float(
            whole.prefix_tokens.sum()
        ),
        "MLPs": whole.mlps,
        "embedding": whole.embedding,
        "biases": whole.biases,
    }
    terms = ", ".join(f"{name} {_number(value)}" for name, value in parts.items())
    less = " minus the mean of all classes"
    if analysis.checkpoint.model.problem != "single_label":
        less = ""
    if analysis.versus:
        less = f" minus that of {analysis.versus.label}"
    return f"The logit of {analysis.target.label}{less} is {_number(whole.centred_logit)}: {terms}."


def small_photo(analysis: Analysis) -> str:
    """That the photo has far fewer pixels than the model reads; empty where it has enough."""
    photo, height, width = analysis.photo, analysis.picture.height, analysis.picture.width
    if enlargement(analysis.input_box, (height, width)) <= LARGEST_ENLARGEMENT:
        return ""
    count = f"{photo.width} × {photo.height} pixel{'' if photo.size == (1, 1) else 's'}"
    return (
        f"The photo has only {count}; the model reads {width} × {height}, so most of what it "
        "reads is interpolated."
    )


def verdict(trust: ScoresVsRandom) -> str:
    """In how many figures a map does better than noise."""
    better = sum(trust.better(figure) for figure in FIGURES)
    words = {0: "in none", len(FIGURES): "in all"}.get(better, f"in {better}")
    return f"On this photo the map does better than noise {words} of the {len(FIGURES)} figures."


def tracked_probability(analysis: Analysis) -> str:
    """Whose probability a map of this analysis is put to the test by."""
    asked = (analysis.target or analysis.predictions[0]).label
    against = f" as against {analysis.versus.label}" if analysis.versus else ""
    if analysis.checkpoint.model.problem == "regression":
        less = f" less that of {analysis.versus.label}" if analysis.versus else ""
        return f"the value of {asked}{less}"
    return f"the probability of {asked}{against}"


def evidence(trust: ScoresVsRandom) -> list[Measured]:
    """Each figure of the map beside that of noise."""
    return [
        Measured(
            name=NAMES[figure],
            mine=_number(trust.scores.figure(figure)),
            noise=_number(trust.control.figure(figure)),
            hint="more is better" if more else "less is better",
            better=trust.better(figure),
        )
        for figure, more in FIGURES.items()
    ]


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "\u2212")


def protocol(trust: ScoresVsRandom, analysis: Analysis) -> str:
    """How the figures were made, and how much they are worth."""
    gone = "left out" if trust.drops else "given the photo's mean colour"
    return (
        f"We track {tracked_probability(analysis)} while the most important patches go first, in "
        f"{trust.steps} steps: {gone} (deletion), or set into the blurred photo (insertion). "
        "SaCo: do groups of patches, each hidden alone, weigh as the map says? One photo and one "
        "noise map are a first look and no proof: of two noise maps, either wins about half."
    )


def source(analysis: Analysis) -> str:
    """Which checkpoint spoke, at which commit."""
    return source_of(analysis.checkpoint)


def source_of(checkpoint: Checkpoint | CheckpointInfo) -> str:
    """A checkpoint, at which commit, and its architecture."""
    commit = f" at {checkpoint.revision}" if checkpoint.revision else ""
    return f"{checkpoint.ref}{commit} · {checkpoint.architecture}"


def reading_notes(checkpoint: Checkpoint | CheckpointInfo) -> tuple[str, ...]:
    """What to know of how a checkpoint's files were read; none where they say everything."""
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
    """That the answer is unsure and what the checkpoint can name; empty where it is not."""
    threshold = analysis.checkpoint.calibration.unsure_below
    if threshold is None or not analysis.unsure:
        return ""
    return (
        f"Unsure: the likeliest name has only {analysis.predictions[0].written()}, and below "
        f"{threshold:.0%} this checkpoint's answers are doubtful; "
        f"it {known_classes(analysis.checkpoint.labels)}."
    )


def known_classes(labels: tuple[str, ...], most: int = 12) -> str:
    """What a checkpoint can name at all, in one line."""
    listed = ", ".join(labels[:most]) + (", …" if len(labels) > most else "")
    return f"knows {len(labels)} classes: {listed}"
