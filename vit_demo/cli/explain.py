"""`explain` and `methods`: explain one photo, and list the methods."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vit_demo import captions
from vit_demo.analysis import TOP, Analysis, prepare
from vit_demo.checkpoints import DEFAULT
from vit_demo.cli.checkpoint import (
    CheckpointOption,
    ClassesOption,
    JsonOption,
    PickleOption,
    PreprocessingOption,
    load_with_progress,
)
from vit_demo.errors import OptionError, OutputError
from vit_demo.explanations.capability import capabilities
from vit_demo.faithfulness import ScoresVsRandom
from vit_demo.figures import draw_sheet
from vit_demo.figures.export import Document, check_suffix, suffixes, write


def explain_command(
    photo: Annotated[Path, typer.Argument(help="The photo.")],
    checkpoint: CheckpointOption = DEFAULT,
    method: Annotated[
        str | None,
        typer.Option(help="See: methods. [default: rollout; with a class to explain: relevance]"),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="LABEL_OR_INDEX", help="Class to explain.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of the method, e.g. layer=3."),
    ] = None,
    versus: Annotated[
        str | None,
        typer.Option(metavar="LABEL_OR_INDEX", help="Class to compare with: why not this one?"),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to list.")] = TOP,
    logits: Annotated[bool, typer.Option("--logits", help="Add all logits to the JSON.")] = False,
    faithfulness: Annotated[
        bool, typer.Option("--faithfulness", help="Measure how faithful the map is.")
    ] = False,
    smooth: Annotated[
        bool, typer.Option("--smooth", help="Smooth the map in the picture, not in the numbers.")
    ] = False,
    as_json: JsonOption = False,
    allow_pickle: PickleOption = False,
    preprocessing: PreprocessingOption = None,
    classes: ClassesOption = None,
    out: Annotated[
        Path | None, typer.Option(help=f"Write .json, or a sheet as {suffixes(['.json'])}.")
    ] = None,
) -> None:
    """Classify a photo and show where the model looked."""
    if out is not None:
        check_out(out)
    options = _options(option or [])
    loaded = load_with_progress(checkpoint, allow_pickle, preprocessing, classes)
    prepared = prepare(loaded, photo)
    analysis = prepared.explain(method, target, options, versus)
    content = analysis.as_json(top, logits)
    measured = prepared.scores_vs_random(analysis) if faithfulness else None
    if measured:
        content["trust"] = {
            "followed": captions.tracked_probability(analysis),
            **measured.as_json(),
        }
    if out is not None:
        write(Document(content, lambda: draw_sheet(captions.sheet(analysis, smooth))), out)
    if as_json:
        typer.echo(json.dumps(content))
    else:
        _print_analysis(analysis, measured, top, out)


def methods_command(
    checkpoint: CheckpointOption = DEFAULT,
    as_json: JsonOption = False,
    allow_pickle: PickleOption = False,
) -> None:
    """List the explanation methods, and whether they support a checkpoint."""
    loaded = load_with_progress(checkpoint, allow_pickle)
    rows = [capability.as_json() for capability in capabilities(loaded.model)]
    if as_json:
        typer.echo(json.dumps({"checkpoint": loaded.ref, "methods": rows}))
        return
    columns = ("method", "for one class", "exact", "forward passes", "options", "what it shows")
    table = Table(*columns, box=None)
    for row in rows:
        options = " ".join(f"{name}={value}" for name, value in row["options"].items())
        flags = ("yes" if row[key] else "no" for key in ("class_specific", "exact"))
        shows = row["summary"] if row["fits"] else f"Not supported: {row['why_not']}."
        table.add_row(row["name"], *flags, row["cost"], options or "–", shows)
    Console().print(table)


def _options(pairs: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for text in pairs:
        name, equals, value = text.partition("=")
        if not equals:
            raise OptionError(f"'{text}' has no value; write it like layer=3.")
        options[name] = value
    return options


def check_out(out: Path) -> None:
    """Raise OutputError early, before the work, for a file that cannot be written."""
    check_suffix(out)
    if not out.parent.is_dir():
        raise OutputError(f"There is no folder '{out.parent}' to write to; create it first.")


def _print_analysis(
    analysis: Analysis, measured: ScoresVsRandom | None, top: int, out: Path | None
) -> None:
    console = Console()
    problem = analysis.checkpoint.model.problem
    shown = "value" if problem == "regression" else "probability"
    table = Table("", "class", shown, box=None, header_style="dim")
    for number, prediction in enumerate(analysis.predictions[:top], start=1):
        # Labels come from the checkpoint and must not be parsed as markup.
        table.add_row(str(number), Text(prediction.label), f"{prediction.written(2):>7}")
    console.print(table)
    if problem_note := captions.problem_note(analysis):
        console.print(Text(problem_note))
    if unsure_note := captions.unsure_note(analysis):
        console.print(Text(unsure_note))
    if small := captions.small_photo(analysis):
        console.print(Text(small))
    rows, cols = analysis.grid
    row, col = divmod(int(analysis.heatmap.argmax()), cols)
    maximum = captions.written(float(analysis.heatmap.max()), captions.in_percent(analysis))
    uniform = "" if analysis.signed else f"; uniform: {1 / (rows * cols):.2%}"
    console.print(
        Text(
            f"{captions.title(analysis)} on {rows} × {cols} patches: maximum at row {row + 1}, "
            f"column {col + 1} ({maximum}{uniform})."
        )
    )
    if account := captions.account(analysis):
        console.print(Text(account))
    if measured:
        lines = (figure.words for figure in captions.evidence(measured))
        for line in (captions.verdict(measured), *lines, captions.protocol(measured, analysis)):
            console.print(Text(line))
    console.print(
        Text(f"{captions.source(analysis)} · {captions.known_classes(analysis.checkpoint.labels)}")
    )
    if out is None:
        console.print(Text("Add --out map.png for the picture, --json for the numbers."))
    else:
        console.print(Text(f"Saved to {out}"))
