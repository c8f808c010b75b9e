"""`tokens`: similarity, colors and the depth lens of the tokens of one photo."""

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vit_demo import captions
from vit_demo.analysis import TOP, PreparedPhoto, example_lenses, prepare
from vit_demo.checkpoints import DEFAULT
from vit_demo.cli.checkpoint import (
    CheckpointOption,
    ClassesOption,
    JsonOption,
    PickleOption,
    PreprocessingOption,
    load_with_progress,
)
from vit_demo.cli.explain import check_out
from vit_demo.errors import OptionError
from vit_demo.explanations.attention import layer_at
from vit_demo.explanations.depth_lens import depends_on_photo, depth_lens, largest_difference
from vit_demo.explanations.similarity import token_colors, token_similarity
from vit_demo.figures import ColourScale, Sheet, draw_overlay, draw_sheet
from vit_demo.figures.export import Document, suffixes, write
from vit_demo.figures.overlay import draw_patch_colors
from vit_demo.figures.tokens import draw_depth_lens, draw_token_colors, mark_patch
from vit_demo.predictions import rank, scores

# How many of the most similar patches are listed.
MOST_SIMILAR = 5


def tokens_command(
    photo: Annotated[Path, typer.Argument(help="The photo.")],
    like: Annotated[
        str | None,
        typer.Option(metavar="ROW,COLUMN", help="Show how similar all patches are to this one."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="With --like: the patches of this second photo.")
    ] = None,
    colors: Annotated[
        bool, typer.Option("--colors", help="Show principal components of the tokens as colors.")
    ] = False,
    lens: Annotated[
        bool, typer.Option("--lens", help="Show what the head predicts after each layer.")
    ] = False,
    layer: Annotated[
        int, typer.Option(help="Use the tokens after this layer, from 1; −1 is the last one.")
    ] = -1,
    checkpoint: CheckpointOption = DEFAULT,
    as_json: JsonOption = False,
    allow_pickle: PickleOption = False,
    preprocessing: PreprocessingOption = None,
    classes: ClassesOption = None,
    out: Annotated[
        Path | None, typer.Option(help=f"Write .json, or a picture as {suffixes(['.json'])}.")
    ] = None,
) -> None:
    """Compare the tokens of a photo. Rows, columns and layers are numbered from 1."""
    if sum((like is not None, colors, lens)) != 1:
        raise OptionError("Choose one of --like ROW,COLUMN, --colors and --lens.")
    if to is not None and like is None:
        raise OptionError("--to names the photo to compare with; give --like ROW,COLUMN too.")
    if out is not None:
        check_out(out)
    patch = _patch(like) if like is not None else None
    loaded = load_with_progress(checkpoint, allow_pickle, preprocessing, classes)
    prepared = prepare(loaded, photo)
    loaded.check_answers(prepared.traced.logits)
    if patch is not None:
        content, figure = _similarity(prepared, patch, layer, prepare(loaded, to) if to else None)
    elif colors:
        content, figure = _colors(prepared, layer)
    else:
        content, figure = _lens(prepared)
    content = {"checkpoint": loaded.ref, "grid": list(prepared.traced.grid), **content}
    if out is not None:
        write(Document(content, lambda: figure), out)
    if as_json:
        typer.echo(json.dumps(content))
        return
    console = Console()
    _print(content, loaded.labels, console)
    saved = (
        f"Saved to {out}" if out else "Add --out tokens.png for the picture, --json for numbers."
    )
    console.print(Text(saved))


def _similarity(
    prepared: PreparedPhoto, patch: tuple[int, int], layer: int, other: PreparedPhoto | None
) -> tuple[dict[str, Any], Figure]:
    shown = other or prepared
    row, col = patch
    rows, cols = prepared.traced.grid
    if row > rows or col > cols:
        raise OptionError(
            f"There is no patch in row {row}, column {col}; rows are 1 to {rows} and columns 1 to "
            f"{cols}."
        )
    heatmap = token_similarity(
        prepared.traced, (row - 1, col - 1), layer, other.traced if other else None
    )[0]
    number = _layer_number(prepared, layer)
    scale = ColourScale.of(heatmap)
    box, first_box = _grid_box(shown), _grid_box(prepared)
    overlay = draw_overlay(shown.prepared.photo, heatmap, box, scale, shown.prepared.box)
    ranked = rank(
        prepared.traced.logits[0],
        prepared.checkpoint.labels,
        prepared.checkpoint.calibration.temperature,
        prepared.checkpoint.problem,
    )
    where = "the second photo" if other else "this photo"
    sheet = Sheet(
        title=f"Patches of {where} like row {row}, column {col}",
        caption=f"Cosine similarity of the tokens after layer {number} to the marked patch. "
        "Similar tokens look alike to the model; this says nothing about a class.\n"
        f"{captions.source_of(prepared.checkpoint)}",
        unit="cosine similarity",
        photo=mark_patch(
            prepared.prepared.photo, first_box, prepared.traced.grid, (row - 1, col - 1)
        ),
        overlay=overlay,
        scale=scale,
        classes=captions.class_bars(ranked),
        class_percent=prepared.checkpoint.problem != "regression",
        percent=False,
    )
    content = {
        "view": "similarity",
        "layer": number,
        "patch": [row, col],
        "second_photo": other is not None,
        "similarity": heatmap.tolist(),
        "similarity_grid": list(heatmap.shape),
        "box": list(box),
    }
    return content, draw_sheet(sheet)


def _colors(prepared: PreparedPhoto, layer: int) -> tuple[dict[str, Any], Figure]:
    colors = token_colors(prepared.traced, layer)[0]
    number, box = _layer_number(prepared, layer), _grid_box(prepared)
    painted = draw_patch_colors(
        prepared.prepared.photo,
        (colors * 255).round().to(torch.uint8).numpy(),
        box,
        prepared.prepared.box,
        opacity=1.0,
    )
    figure = draw_token_colors(
        prepared.prepared.photo,
        painted,
        f"First three principal components of the tokens after layer {number}",
        "The colors compare the patches of this photo only. "
        f"{captions.source_of(prepared.checkpoint)}",
    )
    content = {"view": "colors", "layer": number, "colors": colors.tolist(), "box": list(box)}
    return content, figure


def _lens(prepared: PreparedPhoto) -> tuple[dict[str, Any], Figure]:
    checkpoint = prepared.checkpoint
    temperature = checkpoint.calibration.temperature
    found = depth_lens(prepared.traced)
    compared = torch.cat([found.logits, example_lenses(checkpoint)])
    depends = depends_on_photo(compared).tolist()
    probabilities = scores(found.logits[0], checkpoint.problem, temperature)
    shown = probabilities[-1].argsort(descending=True)[:TOP]
    figure = draw_depth_lens(
        found.layers,
        [checkpoint.labels[index] for index in shown.tolist()],
        probabilities[:, shown],
        depends,
        "What the head predicts after each layer",
        "Gray: the most likely class is the same for this photo and three examples, so it does "
        f"not depend on the photo. {captions.source_of(checkpoint)}",
    )
    content = {
        "view": "lens",
        "layers": list(found.layers),
        "labels": list(checkpoint.labels),
        "logits": found.logits[0].tolist(),
        "probabilities": probabilities.tolist(),
        "depends_on_photo": depends,
        "largest_difference": largest_difference(
            compared, temperature, checkpoint.problem
        ).tolist(),
    }
    return content, figure


def _print(content: dict[str, Any], labels: tuple[str, ...], console: Console) -> None:
    match content["view"]:
        case "similarity":
            _print_similarity(content, console)
        case "colors":
            rows, cols = content["grid"]
            console.print(
                Text(
                    f"Principal components of {rows} × {cols} tokens after layer "
                    f"{content['layer']}; the colors compare the patches of this photo only."
                )
            )
        case _:
            _print_lens(content, labels, console)


def _print_similarity(content: dict[str, Any], console: Console) -> None:
    row, col = content["patch"]
    rows, cols = content["similarity_grid"]
    where = " of the second photo" if content["second_photo"] else ""
    values = torch.tensor(content["similarity"]).flatten()
    if not content["second_photo"]:
        values[(row - 1) * cols + col - 1] = -torch.inf
    best = values.argsort(descending=True, stable=True)[: min(MOST_SIMILAR, rows * cols)]
    console.print(
        Text(
            f"Patches{where} whose tokens after layer {content['layer']} are most similar to row "
            f"{row}, column {col}:"
        )
    )
    table = Table("row", "column", "cosine", box=None, header_style="dim")
    for index in best.tolist():
        if values[index].isfinite():
            at_row, at_col = divmod(index, cols)
            table.add_row(str(at_row + 1), str(at_col + 1), f"{float(values[index]):.3f}")
    console.print(table)


def _print_lens(content: dict[str, Any], labels: tuple[str, ...], console: Console) -> None:
    table = Table("layer", "class", "probability", "", box=None, header_style="dim")
    rows = zip(
        content["layers"], content["probabilities"], content["depends_on_photo"], strict=True
    )
    for layer, probabilities, depends in rows:
        best = max(range(len(labels)), key=probabilities.__getitem__)
        note = "" if depends else "same class for the three examples"
        table.add_row(str(layer), Text(labels[best]), f"{probabilities[best]:7.2%}", note)
    console.print(table)


def _layer_number(prepared: PreparedPhoto, layer: int) -> int:
    return prepared.traced.trace.layers.index(layer_at(prepared.traced, layer)) + 1


def _grid_box(prepared: PreparedPhoto) -> tuple[float, float, float, float]:
    return prepared.prepared.grid_box(prepared.traced.grid, prepared.checkpoint.model.config.cell)


def _patch(text: str) -> tuple[int, int]:
    """Row and column of a patch, from 1, as in "6,7"."""
    row, comma, col = text.partition(",")
    if not (comma and row.strip().isdecimal() and col.strip().isdecimal()):
        raise OptionError(f"--like={text}, but it must be a row and a column, such as 6,7.")
    if not (int(row) and int(col)):
        raise OptionError(f"--like={text}, but rows and columns are numbered from 1.")
    return int(row), int(col)
