"""The whole way, once, in order: photo + checkpoint + method → `Analysis`.

Page, command line and Python all come through here, so a number seen in one is the number seen
in the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vit_demo.checkpoints.checkpoint import Checkpoint
from vit_demo.errors import TargetError, nearest
from vit_demo.explanations import DEFAULT_METHOD, Method, Options, Watched, find_method, watch
from vit_demo.photo import PhotoSource, read_photo
from vit_demo.preprocess import Box, Prepared

TOP = 5


@dataclass(frozen=True)
class Prediction:
    """One class and how likely the model finds it."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True, eq=False)
class Analysis:
    """What the model said about one photo, and where it looked.

    `heatmap` lies on the patch grid; unless `signed`, it is non-negative and sums to one. `box` is
    where the grid lies on the upright `photo`, in its pixels, and `seen` the part that went into
    the model: patches at the edge may be padded, and reach beyond it. `target` is the class that
    was asked about, None for a method whose map is the same for every class.
    """

    checkpoint: Checkpoint = field(repr=False)
    photo: Image.Image
    picture: Image.Image
    predictions: tuple[Prediction, ...]
    logits: Float[Tensor, " classes"]
    method: str
    target: Prediction | None
    heatmap: Float[Tensor, "rows cols"]
    signed: bool
    exact: bool
    options: Mapping[str, int]
    box: Box
    seen: Box

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
            "box": list(self.box),
        }
        if logits:
            content["logits"] = self.logits.tolist()
        return content


@dataclass(frozen=True, eq=False)
class Look:
    """One photo after one watched pass; any number of methods can be asked about it.

    It holds the queries and keys of every layer, so keep the analyses and let it go.
    """

    checkpoint: Checkpoint
    prepared: Prepared
    watched: Watched

    @property
    def layers(self) -> int:
        """How many attention layers there are to look into."""
        return len(self.watched.trace.layers)

    def explain(
        self,
        method: str = DEFAULT_METHOD,
        target: str | int | None = None,
        options: Options | None = None,
    ) -> Analysis:
        """Ask one method; see `explain` for what it raises."""
        chosen = find_method(method)
        complete = chosen.options(options or {})
        logits = self.watched.logits[0]
        ranked = rank(logits, self.checkpoint.labels, self.checkpoint.calibration.temperature)
        asked = _target(chosen, target, ranked)
        index = (asked or ranked[0]).index
        heatmap = chosen(self.watched, torch.tensor([index]), complete)[0]
        return Analysis(
            checkpoint=self.checkpoint,
            photo=self.prepared.photo,
            picture=self.prepared.picture,
            predictions=ranked,
            logits=logits,
            method=chosen.name,
            target=asked,
            heatmap=heatmap,
            signed=chosen.signed,
            exact=self.checkpoint.model.exact_flows,
            options=complete,
            box=self.prepared.grid_box(self.watched.grid, self.checkpoint.model.config.cell),
            seen=self.prepared.box,
        )


def look(checkpoint: Checkpoint, photo: PhotoSource) -> Look:
    """Read and prepare the photo and run the model on it once, watched.

    Raises PhotoError when the photo cannot be read.
    """
    prepared = checkpoint.preprocessing(read_photo(photo))
    return Look(checkpoint, prepared, watch(checkpoint.model, prepared.pixels))


def explain(
    checkpoint: Checkpoint,
    photo: PhotoSource,
    method: str = DEFAULT_METHOD,
    target: str | int | None = None,
    options: Options | None = None,
) -> Analysis:
    """What the model makes of a photo, and where it looked.

    `target` is a label or a class index; left out, a class-specific method explains the likeliest
    class. Raises PhotoError, MethodError, TargetError or OptionError, each with the next step.
    """
    find_method(method).options(options or {})
    return look(checkpoint, photo).explain(method, target, options)


def rank(
    logits: Float[Tensor, " classes"], labels: tuple[str, ...], temperature: float = 1.0
) -> tuple[Prediction, ...]:
    """All classes, the likeliest first, with the softmax of logits / temperature."""
    probabilities = (logits / temperature).softmax(dim=-1)
    order = probabilities.argsort(descending=True, stable=True).tolist()
    return tuple(Prediction(i, labels[i], float(probabilities[i])) for i in order)


def _target(
    method: Method, target: str | int | None, ranked: tuple[Prediction, ...]
) -> Prediction | None:
    if target is None:
        return ranked[0] if method.class_specific else None
    by_index = {prediction.index: prediction for prediction in ranked}
    by_label = {prediction.label: prediction for prediction in ranked}
    if isinstance(target, str):
        if target in by_label:
            return by_label[target]
        if not target.isdecimal():
            raise TargetError(
                f"This checkpoint knows no '{target}'; {nearest(target, list(by_label))}"
            )
        target = int(target)
    if target not in by_index:
        raise TargetError(
            f"There is no class {target}; this checkpoint's classes are 0 to {len(ranked) - 1}."
        )
    return by_index[target]
