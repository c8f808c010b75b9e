"""Evaluate a checkpoint's predictions on a folder of photos."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from vit_demo.checkpoints import Checkpoint
from vit_demo.data.dataset import Photos, Sample
from vit_demo.errors import ConfigError, DataError, PhotoError, UnsupportedError
from vit_demo.evaluation.eval_set import EvalSet
from vit_demo.evaluation.metrics import Reliability, Share, reliability
from vit_demo.evaluation.ood import OodReport, confidence, ood_report
from vit_demo.evaluation.temperature import (
    cross_fitted,
    fit_temperature,
    folds,
    unsure_threshold,
)
from vit_demo.predictions import Problem, scores

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Mistake:
    """A misclassified photo, with the predicted class and its probability."""

    photo: Path
    truth: str
    predicted: str
    confidence: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All predictions of a checkpoint on some photos, and their scores.

    `raw` is the reliability of the uncalibrated probabilities, `in_use` with the temperature
    stored in the checkpoint, `cross_fitted` with temperatures fitted on other photos than they are
    applied to. `temperature` (the given one, or else fitted on all photos) and `unsure_below` can
    be stored; they and `cross_fitted` are None if no temperature can be fitted. `ood` compares
    confidences with photos of unknown classes, if requested and if there are any, at `temperature`
    or else at the stored one.
    """

    checkpoint: Checkpoint = field(repr=False)
    chosen: EvalSet = field(repr=False)
    samples: tuple[Sample, ...] = field(repr=False)
    unreadable: Mapping[Path, str]
    logits: Float[Tensor, "photos classes"] = field(repr=False)
    raw: Reliability
    in_use: Reliability
    cross_fitted: Reliability | None
    temperature: float | None
    unsure_below: float | None
    ood: OodReport | None = None

    @property
    def truth(self) -> Int[Tensor, " photos"]:
        """The true class of every photo."""
        return torch.tensor([label for _, label in self.samples])

    @property
    def predicted(self) -> Int[Tensor, " photos"]:
        """The predicted class of every photo."""
        return self.logits.argmax(dim=-1)

    @property
    def accuracy(self) -> Share:
        """The accuracy on all photos."""
        return Share(int((self.predicted == self.truth).sum()), len(self.samples))

    @property
    def temperature_helps(self) -> bool:
        """Whether temperatures fitted on some of the photos reduce the loss on the others."""
        return self.cross_fitted is not None and self.cross_fitted.loss < self.raw.loss

    @property
    def unsure_answers(self) -> Share | None:
        """The share of wrong predictions below `unsure_below`; None if there is no threshold."""
        if self.temperature is None or self.unsure_below is None:
            return None
        wrong = self.logits[self.predicted != self.truth].double()
        probabilities = scores(wrong, self.checkpoint.problem, self.temperature)
        below = probabilities.max(dim=-1).values < self.unsure_below
        return Share(int(below.sum()), len(wrong))

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes that occur as true or predicted class."""
        return tuple(sorted({*self.truth.tolist(), *self.predicted.tolist()}))

    def share(self, label: int) -> Share:
        """The accuracy on the photos of one class."""
        own = self.truth == label
        return Share(int((self.predicted[own] == label).sum()), int(own.sum()))

    def confusion(self) -> Int[Tensor, "classes classes"]:
        """Photos by true class (rows) and predicted class (columns), in the order of `classes`."""
        counts = Counter(zip(self.truth.tolist(), self.predicted.tolist(), strict=True))
        classes = self.classes
        return torch.tensor([[counts[true, other] for other in classes] for true in classes])

    def mistakes(self) -> tuple[Mistake, ...]:
        """All wrong predictions, most confident first, with calibrated probabilities."""
        source = self.checkpoint
        probabilities = scores(self.logits, source.problem, source.calibration.temperature)
        best = probabilities.max(dim=-1)
        labels = self.checkpoint.labels
        wrong = [
            Mistake(path, labels[true], labels[predicted], confidence)
            for (path, true), predicted, confidence in zip(
                self.samples, best.indices.tolist(), best.values.tolist(), strict=True
            )
            if predicted != true
        ]
        return tuple(sorted(wrong, key=lambda mistake: -mistake.confidence))


def evaluate(
    checkpoint: Checkpoint,
    chosen: EvalSet,
    report: Report | None = None,
    ood: bool = False,
    temperature: float | None = None,
) -> Evaluation:
    """Run the checkpoint on the chosen photos; calls `report` with (photos done, total).

    With `ood` it also runs on the photos of unknown classes. A given `temperature` is evaluated
    instead of the fitted one. Unreadable photos are skipped and listed. Raises DataError if no
    photo can be read, CheckpointError if the logits are not finite, UnsupportedError for a
    checkpoint that is not a classifier of several classes.
    """
    check_scorable(checkpoint)
    # Photos of unknown classes have no class number; the 0 is not used.
    unknown = [(path, 0) for path in chosen.ood] if ood else []
    total = len(chosen.samples) + len(unknown)

    def report_done(done: int, _: int) -> None:
        if report is not None:
            report(done, total)

    def report_ood_done(done: int, total: int) -> None:
        report_done(len(chosen.samples) + done, total)

    samples, unreadable, logits = _predict(checkpoint, chosen.samples, report_done)
    if not samples:
        raise DataError(
            f"None of the {len(unreadable)} photos in '{chosen.folder}' can be read: "
            f"{next(iter(unreadable.values()), 'there are none')}"
        )
    truth = torch.tensor([label for _, label in samples])
    problem = checkpoint.problem
    fitted = fit_temperature(logits, truth) if problem == "single_label" else None
    crossed = None if fitted is None else cross_fitted(logits, truth, folds(len(samples)))
    temperature = fitted if temperature is None else temperature
    stored = checkpoint.calibration.temperature
    _, unreadable_ood, ood_logits = _predict(checkpoint, unknown, report_ood_done)
    scale = temperature or stored
    compared = None
    if len(ood_logits):
        compared = ood_report(
            confidence(logits, scale, problem), confidence(ood_logits, scale, problem)
        )
    return Evaluation(
        checkpoint=checkpoint,
        chosen=chosen,
        samples=samples,
        unreadable={**unreadable, **unreadable_ood},
        logits=logits,
        raw=reliability(log_scores(logits.double(), problem), truth),
        in_use=reliability(log_scores(logits.double() / stored, problem), truth),
        cross_fitted=None if crossed is None else reliability(crossed, truth),
        temperature=temperature,
        unsure_below=unsure_threshold(logits, truth, temperature, problem) if temperature else None,
        ood=compared,
    )


def check_scorable(checkpoint: Checkpoint) -> None:
    """Raise UnsupportedError for a checkpoint that is not a classifier of several classes."""
    if checkpoint.problem == "regression" or len(checkpoint.labels) == 1:
        what = "predicts a number" if checkpoint.problem == "regression" else "has only one class"
        raise UnsupportedError(
            f"'{checkpoint.ref}' {what}, so it cannot be scored on photos in folders of classes; "
            "choose a classifier with two or more classes."
        )


def log_scores(
    logits: Float[Tensor, "photos classes"], problem: Problem
) -> Float[Tensor, "photos classes"]:
    """Logarithms of the displayed probabilities."""
    return logsigmoid(logits) if problem == "multi_label" else logits.log_softmax(dim=-1)


def _predict(
    checkpoint: Checkpoint, samples: Sequence[Sample], report: Report | None
) -> tuple[tuple[Sample, ...], dict[Path, str], Float[Tensor, "photos classes"]]:
    """The readable photos, the reasons why others are not readable, and the logits.

    Runs one photo at a time, so that the numbers equal those of `explain` bit for bit and photos
    can differ in size.
    """
    photos = Photos(samples, checkpoint.preprocessing)
    read: list[Sample] = []
    unreadable: dict[Path, str] = {}
    logits = [torch.empty(0, len(checkpoint.labels))]
    with torch.inference_mode():
        for number, sample in enumerate(samples):
            try:
                pixels, _ = photos[number]
                output = checkpoint.model(pixels[None])
            except PhotoError as error:
                unreadable[sample[0]] = str(error)
            except ConfigError as error:
                # Without a resizing step, a photo can be smaller than one patch of the model.
                unreadable[sample[0]] = f"'{sample[0]}' cannot be scored: {error}"
            else:
                read.append(sample)
                logits.append(output)
            if report is not None:
                report(number + 1, len(samples))
    all_logits = torch.cat(logits)
    checkpoint.check_answers(all_logits)
    return tuple(read), unreadable, all_logits
