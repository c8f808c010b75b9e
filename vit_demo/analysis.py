"""The whole pipeline, in order: photo + checkpoint + method → `Analysis`.

The page, the command line, the API and Python all call it, so they all report the same numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vit_demo.checkpoints.checkpoint import Checkpoint, CheckpointInfo
from vit_demo.errors import CheckpointError, MethodError, TargetError
from vit_demo.explanations import (
    DEFAULT_METHOD,
    METHODS,
    Method,
    Options,
    TracedPass,
    Value,
    find_method,
    run_with_trace,
)
from vit_demo.explanations.depth_lens import depth_lens
from vit_demo.explanations.evidence import Account
from vit_demo.explanations.masking import Between
from vit_demo.faithfulness import (
    QUICK_STEPS,
    MapSimilarity,
    MaskedClassifier,
    ScoresVsRandom,
    randomize_cascade,
    scores_vs_random,
)
from vit_demo.models import Classifier
from vit_demo.photo import PhotoSource, read_photo
from vit_demo.precision import bfloat16_is_faster
from vit_demo.predictions import Prediction, find_class, rank
from vit_demo.preprocess import Box, Prepared
from vit_demo.settings import ASSETS

TOP = 5

# The depth lens compares a photo with these, to find layers whose prediction never changes.
EXAMPLES = ("dahlia.jpg", "honey-bee.jpg", "drawn-sunflower.png")

# In METHODS, the most faithful class-specific method comes first (measured on the bundled
# checkpoint).
CLASS_SPECIFIC = tuple(name for name, method in METHODS.items() if method.class_specific)


@dataclass(frozen=True, eq=False, repr=False)
class Analysis:
    """The model's predictions for one photo, and where it looked.

    `heatmap` has one value per patch; unless `signed`, it is non-negative and sums to one.
    `grid_box` is the part of the upright `photo` that the grid covers, in pixels, and `input_box`
    the part that went into the model: padded patches at the edge can extend beyond it. `target`
    is the explained class, None for a method whose map is the same for every class. With a second
    class, `versus`, the map is the difference of the two maps, and signed. `account` is the
    complete sum of which the map is one term, for a method that has one.
    """

    checkpoint: CheckpointInfo
    photo: Image.Image
    picture: Image.Image
    predictions: tuple[Prediction, ...]
    logits: Float[Tensor, " classes"]
    method: str
    target: Prediction | None
    heatmap: Float[Tensor, "rows cols"]
    signed: bool
    exact: bool
    options: Mapping[str, Value]
    grid_box: Box
    input_box: Box
    versus: Prediction | None = None
    account: Account | None = None

    def __repr__(self) -> str:
        best, (rows, cols) = self.predictions[0], self.grid
        target = f" for {self.target.label}" if self.target else ""
        versus = f" compared with {self.versus.label}" if self.versus else ""
        return (
            f"Analysis({self.checkpoint.ref!r}: {best.label} {best.written(1)}, "
            f"{self.method}{target}{versus}, {rows} × {cols} patches)"
        )

    @property
    def unsure(self) -> bool:
        """Whether the top probability is below the checkpoint's own threshold."""
        threshold = self.checkpoint.calibration.unsure_below
        best = self.predictions[0].probability
        return threshold is not None and best is not None and best < threshold

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patch grid."""
        rows, cols = self.heatmap.shape
        return rows, cols

    def as_json(self, top: int = TOP, logits: bool = False) -> dict[str, Any]:
        """The analysis as one JSON object; `logits` of all classes only on request."""
        source = self.checkpoint
        content: dict[str, Any] = {
            "checkpoint": {
                "ref": source.ref,
                "revision": source.revision,
                "architecture": source.architecture,
                "layout": source.layout,
            },
            "photo": {"width": self.photo.width, "height": self.photo.height},
            "predictions": [prediction.as_json() for prediction in self.predictions[:top]],
            "problem_type": source.model.problem,
            "unsure": self.unsure,
            "preprocessing_source": source.preprocessing_source,
            "notes": list(source.notes),
            "method": self.method,
            "target": self.target and {"index": self.target.index, "label": self.target.label},
            "grid": list(self.grid),
            "heatmap": self.heatmap.tolist(),
            "signed": self.signed,
            "exact": self.exact,
            "options": dict(self.options),
            "box": list(self.grid_box),
        }
        if self.versus:
            content["versus"] = {"index": self.versus.index, "label": self.versus.label}
        if self.account:
            content["account"] = self.account.as_json()
        if logits:
            content["logits"] = self.logits.tolist()
        return content


@dataclass(frozen=True, eq=False)
class PreparedPhoto:
    """One photo, ready for the model; any number of methods can explain it.

    The traced pass runs once, on first use, and references the queries, keys and tokens of every
    layer. Keep the small `Analysis` objects and release this one. A method that needs gradients
    runs a pass of its own, whose graph is freed when the method returns.
    """

    checkpoint: Checkpoint
    prepared: Prepared

    @cached_property
    def traced(self) -> TracedPass:
        """One traced pass without gradients, with the tokens after every layer."""
        return run_with_trace(self.checkpoint.model, self.prepared.pixels, hidden_states=True)

    @property
    def layers(self) -> int:
        """The number of attention layers."""
        return len(self.traced.trace.layers)

    def explain(
        self,
        method: str | None = None,
        target: str | int | None = None,
        options: Options | None = None,
        versus: str | int | None = None,
        between: Between | None = None,
    ) -> Analysis:
        """Run one method; see `explain` for the default method and the errors.

        `between` is called while a method runs the model many times; see `Method`.
        """
        model = self.checkpoint.model
        chosen = _method(method, target, versus, model)
        complete = chosen.options(options or {}, model)
        traced = (
            chosen.run_with_trace(model, self.prepared.pixels)
            if chosen.needs_gradients
            else self.traced
        )
        logits = traced.logits[0].detach()
        self.checkpoint.check_answers(logits)
        ranked = rank(
            logits,
            self.checkpoint.labels,
            self.checkpoint.calibration.temperature,
            self.checkpoint.problem,
        )
        explained = _target(chosen, target, ranked)
        index = (explained or ranked[0]).index
        other = None if versus is None else _other(versus, index, ranked)
        heatmap = _map(chosen, traced, index, complete, other, between)
        if not heatmap.isfinite().all():
            raise CheckpointError(
                f"The map of '{chosen.name}' for '{self.checkpoint.ref}' has infinite or NaN "
                "values; choose another method or another checkpoint."
            )
        return Analysis(
            checkpoint=self.checkpoint.info,
            photo=self.prepared.photo,
            picture=self.prepared.picture,
            predictions=ranked,
            logits=logits,
            method=chosen.name,
            target=explained,
            heatmap=heatmap,
            signed=chosen.signed or other is not None,
            exact=chosen.exact(model.exact_flows),
            options=complete,
            grid_box=self.prepared.grid_box(traced.grid, model.config.cell),
            input_box=self.prepared.box,
            versus=other,
            account=_account(chosen, traced, index, other),
        )

    def scores_vs_random(
        self, analysis: Analysis, steps: int = QUICK_STEPS, between: Between | None = None
    ) -> ScoresVsRandom:
        """Quick faithfulness scores of a map of this photo, beside those of a random map.

        SaCo has as many groups as the curves have `steps`. Runs in bfloat16 where that is faster.
        `between` is called after every pass. Raises CheckpointError for a checkpoint whose
        probabilities cannot be tested (see `MaskedClassifier`).
        """
        target, versus = analysis.target or analysis.predictions[0], analysis.versus
        classifier = MaskedClassifier(
            self.traced,
            target.index,
            None if versus is None else versus.index,
            self.checkpoint.calibration.temperature,
            bfloat16_is_faster(self.prepared.pixels.device),
            between,
        )
        return scores_vs_random(classifier, analysis.heatmap, steps, steps)

    def randomised(self, analysis: Analysis) -> list[MapSimilarity]:
        """How the map changes while the model's weights are randomized, from the head down."""
        return randomize_cascade(
            find_method(analysis.method),
            self.checkpoint.model,
            self.prepared.pixels,
            (analysis.target or analysis.predictions[0]).index,
            analysis.options,
        )


def prepare(checkpoint: Checkpoint, photo: PhotoSource) -> PreparedPhoto:
    """Read and prepare the photo; raises PhotoError when it cannot be read."""
    return PreparedPhoto(checkpoint, checkpoint.preprocessing(read_photo(photo)))


def example_lenses(
    checkpoint: Checkpoint, between: Between | None = None
) -> Float[Tensor, "photos layers classes"]:
    """The depth lens of every example, to compare a photo with: the logits after each layer.

    `between` is called after each example. Raises MethodError as `depth_lens` does.
    """
    logits = []
    for number, name in enumerate(EXAMPLES, start=1):
        logits.append(depth_lens(prepare(checkpoint, ASSETS / "examples" / name).traced).logits[0])
        if between is not None:
            between(number, len(EXAMPLES))
    return torch.stack(logits)


def explain(
    checkpoint: Checkpoint,
    photo: PhotoSource,
    method: str | None = None,
    target: str | int | None = None,
    options: Options | None = None,
    versus: str | int | None = None,
) -> Analysis:
    """The model's predictions for a photo, and where it looked.

    The default `method` is attention rollout, or, if a class is named, the most faithful
    class-specific method that supports the checkpoint. `target` is a label or a class index;
    without it, a class-specific method explains the top prediction. With a second class,
    `versus`, the map answers "why the one and not the other?". Raises PhotoError, MethodError,
    TargetError or OptionError, each with the next step.
    """
    _method(method, target, versus, checkpoint.model).options(options or {}, checkpoint.model)
    return prepare(checkpoint, photo).explain(method, target, options, versus)


def _method(
    name: str | None, target: str | int | None, versus: str | int | None, model: Classifier
) -> Method:
    """The method of that name; without a name, the default, which depends on the classes."""
    names_a_class = target is not None or versus is not None
    if name is None and names_a_class:
        supported = (it for it in CLASS_SPECIFIC if not METHODS[it].unsupported_reason(model))
        return METHODS[next(supported)]
    method = find_method(name or DEFAULT_METHOD)
    if names_a_class and not method.class_specific:
        raise MethodError(
            f"'{method.name}' gives the same map for every class, so it cannot explain or compare "
            f"single classes; leave the class out, or choose one of: "
            f"{', '.join(CLASS_SPECIFIC)}."
        )
    return method


def _map(
    method: Method,
    traced: TracedPass,
    index: int,
    options: Options,
    versus: Prediction | None,
    between: Between | None = None,
) -> Float[Tensor, "rows cols"]:
    """The map of one class, minus the map of `versus` if there is one."""
    heatmap = method(traced, torch.tensor([index]), options, between)[0]
    if versus is None:
        return heatmap
    # A graph can be differentiated only once.
    again = method.run_with_trace(traced.model, traced.pixels) if method.needs_gradients else traced
    return heatmap - method(again, torch.tensor([versus.index]), options, between)[0]


def _account(
    method: Method, traced: TracedPass, index: int, versus: Prediction | None
) -> Account | None:
    """The sum of which the map is one term, or None for a method without one."""
    if method.account is None:
        return None
    account = method.account(traced, torch.tensor([index]))[0]
    if versus is None:
        return account
    return account - method.account(traced, torch.tensor([versus.index]))[0]


def _other(versus: str | int, index: int, ranked: tuple[Prediction, ...]) -> Prediction:
    """The class to compare with the one at `index`."""
    other = find_class(versus, ranked)
    if other.index == index:
        raise TargetError(
            f"'{other.label}' cannot be compared with itself; choose two different classes."
        )
    return other


def _target(
    method: Method, target: str | int | None, ranked: tuple[Prediction, ...]
) -> Prediction | None:
    if target is None:
        return ranked[0] if method.class_specific else None
    return find_class(target, ranked)
