"""The whole way, once, in order: photo + checkpoint + method → `Analysis`.

Page, command line and Python all come through here, so a number seen in one is the number seen
in the others.
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

# The depth lens compares a photo with these, to tell which layers answer the same to all.
EXAMPLES = ("dahlia.jpg", "honey-bee.jpg", "drawn-sunflower.png")

# Their table has the most faithful first, as measured for the bundled checkpoint.
CLASS_SPECIFIC = tuple(name for name, method in METHODS.items() if method.class_specific)


@dataclass(frozen=True, eq=False, repr=False)
class Analysis:
    """What the model said about one photo, and where it looked.

    `heatmap` lies on the patch grid; unless `signed`, it is non-negative and sums to one.
    `grid_box` is where the grid lies on the upright `photo`, in its pixels, and `input_box` the
    part that went into the model: patches at the edge may be padded, and reach beyond it. `target`
    is the class that is explained, None for a method whose map is the same for every class. With
    `versus`, another class, the map is the difference of the two maps, and signed. `account` is the
    whole sum that the map is a part of, for a method that has one.
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
        asked = f" for {self.target.label}" if self.target else ""
        against = f" compared with {self.versus.label}" if self.versus else ""
        return (
            f"Analysis({self.checkpoint.ref!r}: {best.label} {best.probability:.1%}, "
            f"{self.method}{asked}{against}, {rows} × {cols} patches)"
        )

    @property
    def unsure(self) -> bool:
        """Whether even the likeliest class stays below the checkpoint's own threshold."""
        threshold = self.checkpoint.calibration.unsure_below
        return threshold is not None and self.predictions[0].probability < threshold

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
            "predictions": [
                {"index": p.index, "label": p.label, "probability": p.probability}
                for p in self.predictions[:top]
            ],
            "unsure": self.unsure,
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
    """One photo, ready for the model; any number of methods can be asked about it.

    The watched pass is made once, when it is first asked for, and holds the queries, keys and
    tokens of every layer, so keep the analyses and let it go. A method that needs gradients
    makes a pass of its own instead, whose graph ends with the answer.
    """

    checkpoint: Checkpoint
    prepared: Prepared

    @cached_property
    def traced(self) -> TracedPass:
        """One pass without gradients, what it moved, and the tokens after every layer."""
        return run_with_trace(self.checkpoint.model, self.prepared.pixels, hidden_states=True)

    @property
    def layers(self) -> int:
        """How many attention layers there are to look into."""
        return len(self.traced.trace.layers)

    def explain(
        self,
        method: str | None = None,
        target: str | int | None = None,
        options: Options | None = None,
        versus: str | int | None = None,
        between: Between | None = None,
    ) -> Analysis:
        """Ask one method; see `explain` for its default and for what it raises.

        `between` is called while a method runs the model many times; see `Method`.
        """
        chosen = _method(method, target, versus, self.checkpoint.model)
        complete = chosen.options(options or {}, self.checkpoint.model)
        needs = chosen.needs_gradients
        seen = (
            chosen.run_with_trace(self.checkpoint.model, self.prepared.pixels)
            if needs
            else self.traced
        )
        logits = seen.logits[0].detach()
        self.checkpoint.check_answers(logits)
        ranked = rank(logits, self.checkpoint.labels, self.checkpoint.calibration.temperature)
        asked = _target(chosen, target, ranked)
        index = (asked or ranked[0]).index
        other = None if versus is None else _other(versus, index, ranked)
        heatmap = _map(chosen, seen, index, complete, other, between)
        if not heatmap.isfinite().all():
            raise CheckpointError(
                f"The map that '{chosen.name}' makes of '{self.checkpoint.ref}' has infinite "
                "values or none at all; choose another method, or another checkpoint."
            )
        return Analysis(
            checkpoint=self.checkpoint.info,
            photo=self.prepared.photo,
            picture=self.prepared.picture,
            predictions=ranked,
            logits=logits,
            method=chosen.name,
            target=asked,
            heatmap=heatmap,
            signed=chosen.signed or other is not None,
            exact=chosen.exact(self.checkpoint.model.exact_flows),
            options=complete,
            grid_box=self.prepared.grid_box(seen.grid, self.checkpoint.model.config.cell),
            input_box=self.prepared.box,
            versus=other,
            account=_account(chosen, seen, index, other),
        )

    def scores_vs_random(self, analysis: Analysis) -> ScoresVsRandom:
        """How far one of this look's maps tells the truth, beside noise: the quick form.

        In half precision where that is faster. Raises CheckpointError where nothing can change.
        """
        asked, versus = analysis.target or analysis.predictions[0], analysis.versus
        case = MaskedClassifier(
            self.traced,
            asked.index,
            None if versus is None else versus.index,
            self.checkpoint.calibration.temperature,
            bfloat16_is_faster(self.prepared.pixels.device),
        )
        return scores_vs_random(case, analysis.heatmap)

    def randomised(self, analysis: Analysis) -> list[MapSimilarity]:
        """How the map of a method and its class changes as the model forgets, head first."""
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

    Without a `method` it is attention rollout, or, where a class is named, the most faithful
    class-specific method that fits the checkpoint. `target` is a label or a class index; left out,
    a class-specific method explains the top prediction. With `versus`, another class, the map
    answers "why the one and not the other?". Raises PhotoError, MethodError, TargetError or
    OptionError, each with the next step.
    """
    _method(method, target, versus, checkpoint.model).options(options or {}, checkpoint.model)
    return prepare(checkpoint, photo).explain(method, target, options, versus)


def _method(
    name: str | None, target: str | int | None, versus: str | int | None, model: Classifier
) -> Method:
    """The method of that name, or the default one for what is asked."""
    names_a_class = target is not None or versus is not None
    if name is None and names_a_class:
        fitting = (each for each in CLASS_SPECIFIC if not METHODS[each].unsupported_reason(model))
        return METHODS[next(fitting)]
    method = find_method(name or DEFAULT_METHOD)
    if names_a_class and not method.class_specific:
        raise MethodError(
            f"'{method.name}' gives the same map for every class, so it explains no class in "
            f"particular and compares none; leave the class out, or choose one of: "
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
    """One class's map, or how it differs from that of another."""
    heatmap = method(traced, torch.tensor([index]), options, between)[0]
    if versus is None:
        return heatmap
    # A graph is good for one answer.
    again = method.run_with_trace(traced.model, traced.pixels) if method.needs_gradients else traced
    return heatmap - method(again, torch.tensor([versus.index]), options, between)[0]


def _account(
    method: Method, traced: TracedPass, index: int, versus: Prediction | None
) -> Account | None:
    """The whole sum that the map is a part of, or None for a method without one."""
    if method.account is None:
        return None
    whole = method.account(traced, torch.tensor([index]))[0]
    if versus is None:
        return whole
    return whole - method.account(traced, torch.tensor([versus.index]))[0]


def _other(versus: str | int, index: int, ranked: tuple[Prediction, ...]) -> Prediction:
    """The class to compare with the one at `index`."""
    other = find_class(versus, ranked)
    if other.index == index:
        raise TargetError(
            f"'{other.label}' cannot be compared with itself; choose another class for either."
        )
    return other


def _target(
    method: Method, target: str | int | None, ranked: tuple[Prediction, ...]
) -> Prediction | None:
    if target is None:
        return ranked[0] if method.class_specific else None
    return find_class(target, ranked)
