"""`faithfulness`: benchmark the methods on a folder of photos."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vit_demo.checkpoints import DEFAULT
from vit_demo.checkpoints.reference import parse
from vit_demo.cli.checkpoint import (
    CheckpointOption,
    ClassesOption,
    JsonOption,
    PickleOption,
    PreprocessingOption,
    load_with_progress,
)
from vit_demo.cli.progress import photos_with_progress
from vit_demo.data.folder import photos_in
from vit_demo.errors import DataError, OptionError, OutputError, nearest
from vit_demo.evaluation.eval_set import held_out_photos
from vit_demo.evaluation.report import make_folder
from vit_demo.explanations import Method
from vit_demo.faithfulness import CONTROL, FIGURES, STEPS, Benchmark, benchmark, compared
from vit_demo.faithfulness.randomization_test import RandomizationResult, randomization_test
from vit_demo.faithfulness.summary import as_json
from vit_demo.figures.faithfulness import Lines, Panel, Spans, Steps, draw_faithfulness
from vit_demo.figures.sheet import save_figure

NUMBERS, PLOT = "faithfulness.json", "faithfulness.png"

# Seed for sampling the photos, so that the same command uses the same ones.
SEED = 0


def faithfulness_command(
    data: Annotated[Path, typer.Option(help="A folder of photos, searched recursively.")],
    checkpoint: CheckpointOption = DEFAULT,
    methods: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these, plus rollout and random.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use a random sample of so many photos.")
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Use only the photos held out from its training.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="METHOD.NAME=VALUE", help="An option of a method."),
    ] = None,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="Faster on supporting hardware, less precise.")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the two curves.")] = STEPS,
    randomise: Annotated[
        int, typer.Option(min=0, help="Run the randomization test on so many photos.")
    ] = 0,
    as_json_: JsonOption = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the JSON and the plot.")] = None,
    allow_pickle: PickleOption = False,
    preprocessing: PreprocessingOption = None,
    classes: ClassesOption = None,
) -> None:
    """Measure how faithful the maps are: deletion, insertion and SaCo, compared with noise."""
    photos = _photos(data, checkpoint, held_out, limit)
    loaded = load_with_progress(checkpoint, allow_pickle, preprocessing, classes)
    names = [name.strip() for name in methods.split(",")] if methods else None
    chosen = compared(loaded, names)
    options = _options(option or [], chosen)
    if out is not None:
        make_folder(out)
    notes = Console(stderr=True)
    with photos_with_progress(notes, "photos") as report:
        found = benchmark(loaded, photos, chosen, steps, report, options, bfloat16)
    randomized: dict[str, list[RandomizationResult]] = {}
    if randomise:
        few = [record.photo for record in found.records[:randomise]]
        with photos_with_progress(notes, "randomization") as report:
            randomized = randomization_test(loaded, few, _without_control(chosen), report, options)
    for reason in found.unusable.values():
        notes.print(Text(f"Skipped: {reason}"), soft_wrap=True)
    content = as_json(found, randomized)
    if out is not None:
        _write(out / NUMBERS, json.dumps(content, indent=1) + "\n")
        save_figure(draw_faithfulness(_panels(found, randomized), CONTROL), out / PLOT)
        notes.print(Text(f"Saved to {out}: {NUMBERS}, {PLOT}"), soft_wrap=True)
    if as_json_:
        typer.echo(json.dumps(content))
    else:
        _print(content, Console())


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written ({error.strerror}).") from error


def _photos(data: Path, ref: str, held_out: bool, limit: int | None) -> list[Path]:
    """The photos for the benchmark, in an order that depends only on their names."""
    if not data.is_dir():
        raise DataError(f"There is no folder '{data}'; name a folder with photos.")
    found = photos_in(data)
    if held_out:
        place = parse(ref)
        if not isinstance(place, Path) or not place.is_dir():
            raise OptionError(
                f"'{ref}' is not a checkpoint folder on this machine, which --held-out needs; "
                "name such a folder, or leave --held-out out."
            )
        listed = held_out_photos(place)
        found = [path for path in found if path.relative_to(data).as_posix() in listed]
    if not found:
        kind = "held-out photos of this checkpoint" if held_out else "photos"
        raise DataError(f"There are no {kind} in '{data}'; name a folder that has some.")
    return Random(SEED).sample(found, min(limit or len(found), len(found)))


def _options(texts: list[str], methods: Sequence[Method]) -> dict[str, dict[str, str]]:
    """Options by method, as in "occlusion.block=2"; raises OptionError for other texts."""
    options: dict[str, dict[str, str]] = {method.name: {} for method in methods}
    for text in texts:
        name, dot, rest = text.partition(".")
        option, equals, value = rest.partition("=")
        if not (dot and equals):
            raise OptionError(f"'{text}' is not an option; write it like occlusion.block=2.")
        if name not in options:
            raise OptionError(f"'{name}' is not compared; {nearest(name, list(options))}")
        options[name][option] = value
    return options


def _without_control(methods: Sequence[Method]) -> list[Method]:
    """The methods whose maps depend on the model; random maps do not."""
    return [method for method in methods if method.name != CONTROL]


def _panels(
    found: Benchmark, randomized: Mapping[str, Sequence[RandomizationResult]]
) -> list[Panel]:
    up = "probability of the class"
    panels: list[Panel] = [
        Lines(title, across, up, {name: found.curve(name, figure) for name in found.methods})
        for figure, title, across in (
            ("deletion", "Deletion (lower is better)", "patches deleted"),
            ("insertion", "Insertion (higher is better)", "patches inserted"),
        )
    ]
    means = {name: found.mean(name, "saco") for name in found.methods}
    spans = {
        name: (mean.value, mean.interval or (mean.value, mean.value))
        for name, mean in means.items()
    }
    panels.append(Spans("SaCo (higher is better)", "mean and 95 % interval", spans))
    if randomized:
        parts = [step.part for step in next(iter(randomized.values()))]
        lines = {name: [step.similarity for step in steps] for name, steps in randomized.items()}
        title = "Randomization, from the head down"
        panels.append(Steps(title, "similarity to the original map", parts, lines))
    return panels


def _print(content: Mapping[str, Any], console: Console) -> None:
    arrows = {name: "↑" if higher else "↓" for name, higher in FIGURES.items()}
    columns = ("method", *(f"{name} {arrow}" for name, arrow in arrows.items()), "cost")
    table = Table(*columns, box=None, pad_edge=False)
    for name, scores in content["methods"].items():
        cells = (_cell(scores[figure]) for figure in FIGURES)
        table.add_row(name, *cells, f"{scores['cost']:.1f}")
    console.print(table)
    several = f"Means over {content['photos']} photos, with 95 % intervals"
    lines = [
        f"{several if content['photos'] > 1 else 'One photo'}; {content['steps']} steps, deletion "
        f"with {content['deletion']}, probability of the top class. ↓: lower is better, ↑: higher "
        "is better. Cost: in forward passes.",
        *_choice_lines(content.get("choice")),
    ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _choice_lines(choice: Mapping[str, Any] | None) -> list[str]:
    """The method selected on one half of the photos, and its scores on the other half."""
    if choice is None:
        return []
    first, second = choice["photos"]
    order = f"Ranking on {first} of the photos: {', '.join(choice['ranked'])}."
    if not choice["quick"]:
        return [f"{order} None of them is fast."]
    best = choice["quick"][0]
    return [
        f"{order} Best of the fast methods: {best}. On the other {second} photos:",
        *(
            f"  {figure}: {best} minus {key.removeprefix('less_')} {_cell(difference)}"
            for figure in FIGURES
            for key, difference in choice["methods"][best][figure].items()
            if key.startswith("less_")
        ),
    ]


def _cell(mean: Mapping[str, Any]) -> str:
    low, high = mean["interval"] or (None, None)
    interval = "" if low is None else f" ({low:.2f}, {high:.2f})"
    return f"{mean['mean']:.3f}{interval}"
