"""Convert an analysis to the JSON data that the explorer draws, independent of language and server.

b       batch of one photo         tokens   prefix tokens, then the patches row by row
heads   attention heads            patches  the patches alone
rows    of attention: the mean over the heads first, then one row per head
"""

import base64
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from vit_demo import captions
from vit_demo.analysis import TOP, Analysis
from vit_demo.errors import MethodError, OptionError
from vit_demo.explanations import METHODS, TracedPass
from vit_demo.explanations.attention import layer_at
from vit_demo.explanations.capability import Capability, capabilities
from vit_demo.explanations.masking import Grid
from vit_demo.faithfulness import CONTROL, FIGURES, QUICK_STEPS, ScoresVsRandom
from vit_demo.faithfulness.curves import Curve
from vit_demo.figures import ColourScale
from vit_demo.figures.colour import PERCENTILE
from vit_demo.models.base import described
from vit_demo.preprocess import Box
from vit_demo.trace import Attention, Rule, mean_heads, one_head, propagate_back
from vit_demo.ui.explorer.account import account_data
from vit_demo.ui.explorer.lens import lens_to_come

Json = dict[str, Any]

# Above this, the rows of all patches are not sent; the page requests one pinned patch at a time.
MOST_TOKENS = 600

# The first response stays under 150 kB of JSON; this is the limit of each part, before base64.
PHOTO_BYTES, WHOLE_BYTES, PICTURE_BYTES, ROWS_BYTES = 42_000, 10_000, 22_000, 31_000
QUALITIES = (90, 84, 76, 66, 54, 40)
PHOTO_SIDE, WHOLE_SIDE, SMALLEST_SIDE = 1024, 512, 64
SHRINK = 0.8

# How much of the photo is shown around the grid: the aspect ratio of the stage, and a margin.
STAGE_ASPECT, MARGIN = 1.4, 1.1
# If the cropped region is less than this share of the photo, the page can show the whole photo.
WHOLE_SHARE = 0.96

# Classes in the menus; a list of thousands is hard to use, and the command line has all.
MOST_CLASSES = 50

# Short names of the prefix tokens, the same in every language.
PREFIX_NAMES = {"cls_token": "CLS", "dist_token": "DIST", "reg_token": "REG"}

BYTE = 255
COLOUR_STEPS = 256


@dataclass(frozen=True, eq=False)
class Quantized:
    """Rows as bytes: a value is byte / 255 × the scale of its row."""

    bytes: UInt8[np.ndarray, "*rows patches"]
    scales: Float[np.ndarray, "*rows"]

    @classmethod
    def of(cls, rows: Float[Tensor, "*rows patches"]) -> "Quantized":
        """Non-negative rows, each scaled by its maximum."""
        most = rows.amax(dim=-1)
        placed = rows / most.clamp(min=torch.finfo(rows.dtype).tiny)[..., None]
        return cls(
            (placed * BYTE).round().to(torch.uint8).cpu().numpy(), most.float().cpu().numpy()
        )

    def as_json(self, deflate: bool = False) -> Json:
        """Base64 of the bytes, zlib-compressed with `deflate`, and base64 of the float32 scales."""
        content = self.bytes.tobytes()
        packed = zlib.compress(content, 1) if deflate else content
        return {"bytes": _base64(packed), "scales": _base64(self.scales.tobytes())}


def explorer_data(traced: TracedPass, analyses: Sequence[Analysis]) -> Json:
    """The first response for one photo and at least one analysis of it.

    The caller adds `words`, one table of `vit_demo.ui.explorer.words`. Every text here is a key of
    that table with its parameters, so that the language can change without another run.
    """
    first = analyses[0]
    rows, cols = first.grid
    unsupported = unsupported_rows(traced)
    layers = traced.trace.layers
    return {
        "grid": [rows, cols],
        "cell": first.checkpoint.model.config.cell,
        "tokens": layers[0].tokens if unsupported is None else rows * cols,
        "prefix": prefix_tokens(traced) if unsupported is None else 0,
        "prefix_names": prefix_names(traced) if unsupported is None else [],
        "layers": len(layers),
        "heads": [layer.heads for layer in layers],
        "whole_layers": unsupported is None and layers[0].tokens <= MOST_TOKENS,
        "photo": _photo(first),
        "picture": _picture(first),
        "colours": {name: _colours(name == "diverging") for name in ("sequential", "diverging")},
        "rows": None if unsupported else _read_out_json(traced),
        "views": [
            _patches_view(first),
            *_control_last(
                [*_map_views(analyses), *_attention_views(traced), *_token_views(traced)]
            ),
        ],
        "lens": lens_to_come(traced.model),
        "predictions": [prediction.as_json() for prediction in first.predictions[:TOP]],
        "problem": first.checkpoint.model.problem,
        "classes": [{"index": p.index, "label": p.label} for p in first.predictions[:MOST_CLASSES]],
        "unsure": first.unsure,
        "checkpoint": {
            "ref": first.checkpoint.ref,
            "architecture": first.checkpoint.architecture,
        },
    }


def _control_last(views: Sequence[Json]) -> list[Json]:
    """Put the control last: it explains nothing, and number keys select the first nine views."""
    return sorted(views, key=lambda view: view["name"] == CONTROL)


def trust_data(trust: ScoresVsRandom, analysis: Analysis) -> Json:
    """The result of the quick faithfulness test of a map, with curves of the map and of noise.

    `short` says that the test had fewer steps, so that the page can offer the full one.
    """
    rows, cols = analysis.grid
    short = trust.steps < min(QUICK_STEPS, rows * cols)
    tracked = {"target": (analysis.target or analysis.predictions[0]).label}
    if analysis.versus:
        tracked["versus"] = analysis.versus.label
    if analysis.checkpoint.model.problem == "regression":
        protocol = "trust.protocol.versus.value" if analysis.versus else "trust.protocol.value"
    else:
        protocol = "trust.protocol.versus" if analysis.versus else "trust.protocol"
    return {
        "view": analysis.method,
        "figures": [
            {
                "name": figure.name,
                "map": figure.mine,
                "noise": figure.noise,
                "better": figure.better,
                "hint": _text("trust.more" if more else "trust.less"),
            }
            for figure, more in zip(captions.evidence(trust), FIGURES.values(), strict=True)
        ],
        "protocol": [
            _text(protocol, **tracked, steps=trust.steps),
            _text("trust.dropped" if trust.drops else "trust.greyed"),
            *([_text("trust.short", steps=QUICK_STEPS)] if short else []),
            _text("trust.first_look"),
        ],
        "short": short,
        "better": sum(trust.better(figure) for figure in FIGURES),
        "all": len(FIGURES),
        "curves": [
            {
                "name": name,
                "map": _points(getattr(trust.scores, name)),
                "noise": _points(getattr(trust.control, name)),
            }
            for name in ("deletion", "insertion")
        ],
    }


def _points(curve: Curve) -> list[list[float]]:
    return torch.stack([curve.shares, curve.probabilities], dim=1).tolist()


def layer_rows(traced: TracedPass, layer: int) -> Json:
    """Attention of every patch in one layer (from 1): the mean of the heads, then each head.

    The rows are those of `patch_attention`: only patches, each row sums to one. Their shape is
    (heads + 1, patches, patches), as zlib-compressed uint8; above `MOST_TOKENS` they are left out,
    and the page requests one patch at a time. `read` are the rows of the read-out, of shape (heads
    + 1, patches). Raises MethodError if the patches of the model have no rows, OptionError for a
    layer that does not exist.
    """
    chosen = _dense_layer(traced, layer)
    prefix = prefix_tokens(traced)
    content = {
        "layer": layer,
        "heads": chosen.heads,
        "read": Quantized.of(_read_out_of(traced, chosen)).as_json(deflate=True),
    }
    if chosen.tokens > MOST_TOKENS:
        return content
    with torch.no_grad():
        weights = chosen.weights(slice(prefix, None))[0]
    rows = Quantized.of(_drop_prefix_tokens(_with_mean(weights), prefix))
    return {**content, **rows.as_json(deflate=True)}


def patch_rows(traced: TracedPass, layer: int, patch: tuple[int, int]) -> Json:
    """The same for one patch (row, column, from 0); of shape (heads + 1, patches).

    Raises OptionError outside the grid.
    """
    chosen = _dense_layer(traced, layer)
    rows, cols = traced.grid
    if not (0 <= patch[0] < rows and 0 <= patch[1] < cols):
        raise OptionError(
            f"There is no patch {patch}; rows are 0 to {rows - 1} and columns 0 to {cols - 1}."
        )
    prefix = prefix_tokens(traced)
    token = prefix + patch[0] * cols + patch[1]
    with torch.no_grad():
        weights = chosen.weights(slice(token, token + 1))[0]
    attention = Quantized.of(_drop_prefix_tokens(_with_mean(weights), prefix)[:, 0])
    return {"layer": layer, "patch": list(patch), "heads": chosen.heads, **attention.as_json(True)}


def unsupported_rows(traced: TracedPass) -> str | None:
    """The text key of the reason why tokens have no attention rows; None if they have.

    If tokens are merged or attend in windows, a row of one layer is not a row over all patches.
    """
    rows, cols = traced.grid
    layers, flows = traced.trace.layers, traced.trace.flows
    between = flows[flows.index(layers[0]) : flows.index(layers[-1]) + 1]
    one_size = all(layer.dense and layer.tokens == layers[0].tokens for layer in layers)
    every_token = len(between) == len(layers) and one_size and layers[0].tokens >= rows * cols
    return None if every_token else "reason.no_rows"


def prefix_tokens(traced: TracedPass) -> int:
    """The number of tokens before the patches: class token, distillation token, registers."""
    rows, cols = traced.grid
    return traced.trace.layers[0].tokens - rows * cols


def prefix_names(traced: TracedPass) -> list[str]:
    """The display names of the prefix tokens, in order."""
    names = []
    for name, count in traced.model.config.prefix_tokens.items():
        short = PREFIX_NAMES.get(name, name)
        names += [short] if count == 1 else [f"{short} {n + 1}" for n in range(count)]
    count = prefix_tokens(traced)
    return names if len(names) == count else [f"T{n + 1}" for n in range(count)]


def read_out_rows(traced: TracedPass) -> list[Float[Tensor, "rows patches"]]:
    """Attention of the read-out in every layer: the mean of the heads, then each head.

    The rows are those of the method `attention`; with a class token, they are the row of that
    token.
    """
    return [_read_out_of(traced, layer) for layer in traced.trace.layers]


def _read_out_of(traced: TracedPass, layer: Attention) -> Float[Tensor, "rows patches"]:
    """As in the method `attention`, each head is combined with the same head of the pooling."""
    read = torch.stack(
        [_read(traced, mean_heads), *(_read(traced, one_head(h)) for h in range(layer.heads))]
    )
    live = read.amax(dim=0).nonzero().flatten()
    span = slice(int(live[0]), int(live[-1]) + 1)
    with torch.no_grad():
        weights = _with_mean(layer.weights(span)[0])
        rows = einsum(read[:, span], weights, "rows q, rows q n -> rows n")
    return _drop_prefix_tokens(rows, prefix_tokens(traced))


def _read(traced: TracedPass, rule: Rule = mean_heads) -> Float[Tensor, " tokens"]:
    """The share of each token of the last layer in the read-out."""
    last = traced.trace.flows.index(traced.trace.layers[-1])
    after = traced.trace.flows[last + 1 :]
    return propagate_back(after, traced.read_out, rule, keep=0.0, gain=1.0)[0, 0]


def _dense_layer(traced: TracedPass, layer: int) -> Attention:
    if unsupported_rows(traced):
        raise MethodError(
            "In this architecture a patch has no row of its own in a layer; look at the map of "
            "the method 'attention' instead."
        )
    return layer_at(traced, layer)


def _with_mean(weights: Float[Tensor, "heads *q tokens"]) -> Float[Tensor, "rows *q tokens"]:
    return torch.cat([weights.mean(dim=0, keepdim=True), weights])


def _drop_prefix_tokens(
    rows: Float[Tensor, "*rows tokens"], prefix: int
) -> Float[Tensor, "*rows patches"]:
    """Remove the prefix tokens and normalize every row to a sum of one."""
    patches = rows[..., prefix:]
    total = patches.sum(dim=-1, keepdim=True)
    return patches / total.clamp(min=torch.finfo(rows.dtype).tiny)


def _read_out_json(traced: TracedPass) -> Json:
    """Rows of all layers and heads; only the means if all rows would be too large."""
    by_layer = read_out_rows(traced)
    every = torch.cat(by_layer)
    complete = every.numel() <= ROWS_BYTES and len({len(rows) for rows in by_layer}) == 1
    sent = torch.stack(by_layer) if complete else torch.stack([rows[:1] for rows in by_layer])
    return {
        "reader": _reader(traced),
        "heads": sent.shape[1] - 1,
        **Quantized.of(sent).as_json(),
    }


def _reader(traced: TracedPass) -> str:
    """The text key for what the head reads."""
    live = _read(traced).nonzero().flatten().tolist()
    if max(live) < prefix_tokens(traced):
        return "reader.class" if live == [0] else "reader.distilled"
    return "reader.read_out"


def _patches_view(analysis: Analysis) -> Json:
    rows, cols = analysis.grid
    cell = analysis.checkpoint.model.config.cell
    numbers = {
        "rows": rows,
        "cols": cols,
        "cell": cell,
        "width": analysis.picture.width,
        "height": analysis.picture.height,
    }
    return {
        "name": "patches",
        "kind": "patches",
        "label": _text("view.patches", **numbers),
        "caption": [_text("caption.patches", **numbers), *_small(analysis)],
    }


def _small(analysis: Analysis) -> list[Json]:
    photo = analysis.photo
    small = captions.small_photo(analysis)
    return [_text("caption.small", width=photo.width, height=photo.height)] if small else []


def _map_views(analyses: Sequence[Analysis]) -> list[Json]:
    """One view per method: its map, a view to be computed on request, or the reason why not.

    The method `attention` has separate views.
    """
    made = {analysis.method: analysis for analysis in analyses}
    return [
        map_view(made[one.method.name])
        if one.method.name in made
        else _map_view_to_come(one, analyses[0].grid)
        for one in capabilities(analyses[0].checkpoint.model)
        if one.method.name != "attention"
    ]


def _map_view_to_come(one: Capability, grid: tuple[int, int]) -> Json:
    method = one.method
    view: Json = {
        "name": method.name,
        "kind": "map",
        "label": _text(f"view.{method.name}"),
        "caption": [],
        "by_class": method.class_specific,
    }
    if one.unsupported_reason:
        view["reason"] = _text("reason.method", reason=one.unsupported_reason)
    else:
        view["to_come"] = True
        if method.passes is not None:
            passes = method.passes(grid, one.options)
            view["label"] = _text(f"view.{method.name}.cost", passes=passes)
    return view


def map_view(analysis: Analysis, asked: int | None = None) -> Json:
    """The map of one analysis as a view, which the page can add to the existing views.

    `asked` is the index of the requested class, None for the top class.
    """
    scale = ColourScale.of(analysis.heatmap, analysis.signed)
    method = METHODS[analysis.method]
    classes = {}
    if analysis.target and method.class_specific:
        classes["target"] = analysis.target.label
    if analysis.versus:
        classes["versus"] = analysis.versus.label
    named = ".versus" if analysis.versus else ".class" if classes else ""
    architecture, config = described(analysis.checkpoint.model)
    unread = analysis.method == "rollout" and not architecture.has_class_token(config)
    caption = [_text(f"caption.{analysis.method}{'.read_out' if unread else ''}", **classes)]
    if analysis.versus:
        caption.append(_text("caption.versus", **classes))
    if not analysis.exact:
        caption.append(_text("caption.approximate"))
    clipped = _text("caption.clipped", count=scale.clipped, percentile=f"{PERCENTILE:g}")
    unit = _unit(analysis)
    return {
        "name": analysis.method,
        "kind": "map",
        "by_class": method.class_specific,
        "target": asked,
        "versus": analysis.versus.index if analysis.versus else None,
        "label": _text(f"view.{analysis.method}{named}", **classes),
        "caption": caption,
        "values": _base64(analysis.heatmap.float().cpu().numpy().tobytes()),
        "low": scale.low,
        "high": scale.high,
        "note": [clipped] if scale.clipped else [],
        "clipped": scale.clipped,
        "signed": analysis.signed,
        "unit": unit,
        "format": "percent" if captions.in_percent(analysis) else "number",
        **({"account": account_data(analysis)} if analysis.account else {}),
        "source": method.source,
    }


def _share(grid: Grid) -> Json:
    return _text("unit.share", uniform=f"{1 / (grid[0] * grid[1]):.2%}".replace("%", " %"))


def _unit(analysis: Analysis) -> Json:
    method = METHODS[analysis.method]
    if not method.signed:
        return _share(analysis.grid)
    of_a_number = method.percent and not captions.in_percent(analysis)
    return _text(f"unit.{analysis.method}{'.value' if of_a_number else ''}")


def pairs_view(name: str, pairs: Float[Tensor, "patches patches"], unit: str) -> Json:
    """A value for every pair of patches, such as a cosine; row i is the map of patch i.

    `name` is the key of the view's texts, `unit` the text key of its unit. With 256 patches it
    takes 87 kB, so it is not part of the first response.
    """
    least, most = float(pairs.min()), float(pairs.max())
    placed = (pairs - least) / max(most - least, torch.finfo(pairs.dtype).tiny)
    content = (placed * BYTE).round().to(torch.uint8).cpu().numpy().tobytes()
    return {
        "name": name,
        "kind": "pairs",
        "label": _text(f"view.{name}"),
        "caption": [_text(f"caption.{name}")],
        "bytes": _base64(content),
        "least": least,
        "most": most,
        "low": least,
        "high": most,
        "format": "number",
        "unit": _text(unit),
    }


def rows_view(
    name: str, rows: Float[Tensor, "patches patches"], grid: Grid, exact: bool = True
) -> Json:
    """A map for every patch, non-negative and with a sum of one; row i is that of patch i.

    Each row is scaled by its own maximum. `name` is the key of the view's texts.
    """
    approximate = [] if exact else [_text("caption.approximate")]
    return {
        "name": name,
        "kind": "rows",
        "label": _text(f"view.{name}"),
        "caption": [_text(f"caption.{name}"), *approximate],
        "unit": _share(grid),
        **Quantized.of(rows).as_json(),
    }


def colours_view(name: str, colours: Float[Tensor, "rows cols 3"]) -> Json:
    """A view with one color per patch, each channel from 0 to 1."""
    content = (colours.clamp(0, 1) * BYTE).round().to(torch.uint8).cpu().numpy().tobytes()
    return {
        "name": name,
        "kind": "rgb",
        "label": _text(f"view.{name}"),
        "caption": [_text(f"caption.{name}")],
        "bytes": _base64(content),
    }


def _attention_views(traced: TracedPass) -> list[Json]:
    reason = unsupported_rows(traced)
    refused: Json = {"reason": _text(reason)} if reason else {}
    reader = "reader.read_out" if reason else _reader(traced)
    unit = _share(traced.grid)
    return [
        {
            "name": "attention",
            "kind": "attention",
            "label": _text(f"view.attention.{reader.removeprefix('reader.')}"),
            "caption": [_text(f"caption.attention.{reader.removeprefix('reader.')}")],
            "unit": unit,
            **refused,
        },
        {
            "name": "looks_at",
            "kind": "looks",
            "label": _text("view.looks_at"),
            "caption": [_text("caption.looks_at")],
            "unit": unit,
            **refused,
        },
    ]


def _token_views(traced: TracedPass) -> list[Json]:
    """Views that relate one token to the others; they are computed on request."""
    rows, cols = traced.grid
    many = "reason.many_patches" if rows * cols > MOST_TOKENS else None
    kept = traced.trace.layers[-1] in traced.trace.outputs
    no_tokens = many if kept else "reason.no_tokens"
    kinds = (
        ("through_depth", "rows", many),
        ("looks_like", "pairs", no_tokens),
        ("token_colours", "rgb", no_tokens),
    )
    return [
        {
            "name": name,
            "kind": kind,
            "label": _text(f"view.{name}"),
            "caption": [_text(f"caption.{name}")],
            **({"reason": _text(reason, most=MOST_TOKENS)} if reason else {"to_come": True}),
        }
        for name, kind, reason in kinds
    ]


def _photo(analysis: Analysis) -> Json:
    """The region of the photo around the grid, and a small whole photo if that is much larger."""
    photo, grid = analysis.photo, analysis.grid_box
    whole: Box = (0.0, 0.0, float(photo.width), float(photo.height))
    region = _stage_region(grid, whole)
    content: Json = {
        "width": photo.width,
        "height": photo.height,
        "crop": _photo_region(analysis, region, PHOTO_SIDE, PHOTO_BYTES),
    }
    area = (region[2] - region[0]) * (region[3] - region[1])
    if area < WHOLE_SHARE * photo.width * photo.height:
        content["whole"] = _photo_region(analysis, whole, WHOLE_SIDE, WHOLE_BYTES)
    return content


def _stage_region(grid: Box, whole: Box) -> Box:
    """The region that fills the stage when the grid fills its height or its width."""
    left, top, right, bottom = grid
    width, height = right - left, bottom - top
    stage = max(width, height * STAGE_ASPECT) * MARGIN, max(height, width / STAGE_ASPECT) * MARGIN
    middle = (left + right) / 2, (top + bottom) / 2
    return (
        float(max(whole[0], np.floor(middle[0] - stage[0] / 2))),
        float(max(whole[1], np.floor(middle[1] - stage[1] / 2))),
        float(min(whole[2], np.ceil(middle[0] + stage[0] / 2))),
        float(min(whole[3], np.ceil(middle[1] + stage[1] / 2))),
    )


def _photo_region(analysis: Analysis, region: Box, side: int, most_bytes: int) -> Json:
    """One image, with the boxes of the grid and the model input as shares of its size."""
    left, top, right, bottom = region
    width, height = right - left, bottom - top

    def shares(box: Box) -> list[float]:
        across = [(box[0] - left) / width, (box[2] - left) / width]
        down = [(box[1] - top) / height, (box[3] - top) / height]
        return [across[0], down[0], across[1], down[1]]

    part = analysis.photo.crop((int(left), int(top), int(right), int(bottom)))
    part.thumbnail((side, side))
    return {
        "src": _jpeg(part, most_bytes),
        "aspect": width / height,
        "grid": shares(analysis.grid_box),
        "input": shares(analysis.input_box),
    }


def _picture(analysis: Analysis) -> Json:
    """The preprocessed input image of the model."""
    return {
        "src": _jpeg(analysis.picture, PICTURE_BYTES),
        "width": analysis.picture.width,
        "height": analysis.picture.height,
    }


def _jpeg(picture: Image.Image, most_bytes: int) -> str:
    """A JPEG data URL of at most `most_bytes`: reduces first the quality, then the size."""
    picture = picture.convert("RGB")
    while True:
        for quality in QUALITIES:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=quality)
            if file.tell() <= most_bytes or max(picture.size) <= SMALLEST_SIDE:
                return f"data:image/jpeg;base64,{_base64(file.getvalue())}"
        smaller = (int(edge * SHRINK) or 1 for edge in picture.size)
        picture = picture.resize((next(smaller), next(smaller)))


def _colours(signed: bool) -> str:
    """The RGB table of the figures' color bar, from the low to the high end."""
    values = torch.linspace(0, 1, COLOUR_STEPS)[None]
    return _base64(ColourScale(0.0, 1.0, signed, 0).colours(values).tobytes())


def _text(key: str, **parameters: object) -> Json:
    return {"key": key, "parameters": parameters} if parameters else {"key": key}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
