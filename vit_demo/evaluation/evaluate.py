"""A checkpoint's answers on a folder of photos, and what they are worth."""

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
    """A photo that was called something else, and how surely."""

    photo: Path
    truth: str
    said: str
    confidence: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All answers of a checkpoint on some photos, and their figures.

    `raw` judges the probabilities of the logits as they are, `in_use` those with the temperature
    that the checkpoint states, `cross_fitted` those with a temperature that each photo had no
    part in. `temperature`, the one that was asked for or else fitted on all photos, and
    `unsure_below` are to be stored; they and `cross_fitted` are None where the photos settle none.
    `ood` compares photos of classes that the checkpoint does not know, where they were asked
    for and there are some; with `temperature`, or where there is none, the one in use.
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
        """The class of every photo."""
        return torch.tensor([label for _, label in self.samples])

    @property
    def said(self) -> Int[Tensor, " photos"]:
        """The class that the checkpoint finds likeliest."""
        return self.logits.argmax(dim=-1)

    @property
    def accuracy(self) -> Share:
        """The share of the photos that are named rightly."""
        return Share(int((self.said == self.truth).sum()), len(self.samples))

    @property
    def temperature_helps(self) -> bool:
        """Whether temperatures fitted on some of the photos made the others' answers likelier."""
        return self.cross_fitted is not None and self.cross_fitted.loss < self.raw.loss

    @property
    def unsure_answers(self) -> Share | None:
        """The share of the wrong answers below `unsure_below`; None where that is None."""
        if self.temperature is None or self.unsure_below is None:
            return None
        wrong = self.logits[self.said != self.truth].double()
        found = scores(wrong, self.checkpoint.problem, self.temperature)
        below = found.max(dim=-1).values < self.unsure_below
        return Share(int(below.sum()), len(wrong))

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes that occur, as truth or as answer."""
        return tuple(sorted({*self.truth.tolist(), *self.said.tolist()}))

    def share(self, label: int) -> Share:
        """How many photos of one class are named rightly."""
        own = self.truth == label
        return Share(int((self.said[own] == label).sum()), int(own.sum()))

    def confusion(self) -> Int[Tensor, "classes classes"]:
        """Photos by class (rows) and answer (columns), both in the order of `classes`."""
        counts = Counter(zip(self.truth.tolist(), self.said.tolist(), strict=True))
        classes = self.classes
        return torch.tensor([[counts[true, said] for said in classes] for true in classes])

    def mistakes(self) -> tuple[Mistake, ...]:
        """All wrong answers, the surest first, with probabilities as in use."""
        source = self.checkpoint
        found = scores(self.logits, source.problem, source.calibration.temperature)
        best = found.max(dim=-1)
        labels = self.checkpoint.labels
        wrong = [
            Mistake(path, labels[true], labels[said], confidence)
            for (path, true), said, confidence in zip(
                self.samples, best.indices.tolist(), best.values.tolist(), strict=True
            )
            if said != true
        ]
        return tuple(sorted(wrong, key=lambda mistake: -mistake.confidence))


def evaluate(
    checkpoint: Checkpoint,
    chosen: EvalSet,
    report: Report | None = None,
    ood: bool = False,
    temperature: float | None = None,
) -> Evaluation:
    """Run the checkpoint on the chosen photos; `report` hears how many of how many are done.

    With `ood` it is run on the photos of classes that it does not know, too. With a
    `temperature`, that one is weighed and not the fitted one. Photos that cannot be read are left
    out and listed. Raises DataError where none can be, CheckpointError where the answers are no
    numbers, UnsupportedError for a checkpoint that names no class of several.
    """
    check_scorable(checkpoint)
    # A stranger has no class of the checkpoint's; the number beside it is never looked at.
    unknown = [(path, 0) for path in chosen.ood] if ood else []
    total = len(chosen.samples) + len(unknown)

    def on(done: int, _: int) -> None:
        if report is not None:
            report(done, total)

    samples, unreadable, logits = _answers(checkpoint, chosen.samples, on)
    if not samples:
        raise DataError(
            f"None of the {len(unreadable)} photos in '{chosen.folder}' can be read: "
            f"{next(iter(unreadable.values()), 'there are none')}"
        )
    truth = torch.tensor([label for _, label in samples])
    problem = checkpoint.problem
    fitted = fit_temperature(logits, truth) if problem == "single_label" else None
    fair = None if fitted is None else cross_fitted(logits, truth, folds(len(samples)))
    temperature = fitted if temperature is None else temperature
    stated = checkpoint.calibration.temperature
    _, missed, met = _answers(checkpoint, unknown, lambda d, t: on(len(chosen.samples) + d, t))
    weighed = temperature or stated
    return Evaluation(
        checkpoint=checkpoint,
        chosen=chosen,
        samples=samples,
        unreadable={**unreadable, **missed},
        logits=logits,
        raw=reliability(log_scores(logits.double(), problem), truth),
        in_use=reliability(log_scores(logits.double() / stated, problem), truth),
        cross_fitted=None if fair is None else reliability(fair, truth),
        temperature=temperature,
        unsure_below=unsure_threshold(logits, truth, temperature, problem) if temperature else None,
        ood=ood_report(confidence(logits, weighed, problem), confidence(met, weighed, problem))
        if len(met)
        else None,
    )


def check_scorable(checkpoint: Checkpoint) -> None:
    """Raise UnsupportedError for a checkpoint that names no class of several."""
    if checkpoint.problem == "regression" or len(checkpoint.labels) == 1:
        what = "a number" if checkpoint.problem == "regression" else "one class alone"
        raise UnsupportedError(
            f"'{checkpoint.ref}' gives {what}, and photos in folders of classes cannot score that; "
            "choose a checkpoint that tells two classes or more apart."
        )


def log_scores(
    logits: Float[Tensor, "photos classes"], problem: Problem
) -> Float[Tensor, "photos classes"]:
    """Logarithms of the probabilities that are shown."""
    return logsigmoid(logits) if problem == "multi_label" else logits.log_softmax(dim=-1)


def _answers(
    checkpoint: Checkpoint, samples: Sequence[Sample], report: Report | None
) -> tuple[tuple[Sample, ...], dict[Path, str], Float[Tensor, "photos classes"]]:
    """The photos that can be read, why others cannot, and the logits.

    One photo at a time: the numbers are then those of `explain`, to the last bit, and photos may
    differ in size.
    """
    photos = Photos(samples, checkpoint.preprocessing)
    read: list[Sample] = []
    unreadable: dict[Path, str] = {}
    logits = [torch.empty(0, len(checkpoint.labels))]
    with torch.inference_mode():
        for place, sample in enumerate(samples):
            try:
                pixels, _ = photos[place]
                answer = checkpoint.model(pixels[None])
            except PhotoError as error:
                unreadable[sample[0]] = str(error)
            except ConfigError as error:
                # Without a resizing step, a photo can be smaller than one patch of the model.
                unreadable[sample[0]] = f"'{sample[0]}' cannot be scored: {error}"
            else:
                read.append(sample)
                logits.append(answer)
            if report is not None:
                report(place + 1, len(samples))
    answers = torch.cat(logits)
    checkpoint.check_answers(answers)
    return tuple(read), unreadable, answers
