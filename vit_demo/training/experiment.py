"""An experiment: train the same model shape pretrained and from scratch, and compare."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vit_demo.checkpoints.checkpoint import ParsedCheckpoint
from vit_demo.checkpoints.files import SUMMARY, read_json, write_json
from vit_demo.errors import DataError
from vit_demo.evaluation.metrics import Share
from vit_demo.figures.curves import draw_comparison
from vit_demo.figures.sheet import save_figure
from vit_demo.training.distributed import DistributedContext
from vit_demo.training.plan import SCRATCH, Plan
from vit_demo.training.recipe import SCRATCH_LEARNING_RATE
from vit_demo.training.run import Watcher, train
from vit_demo.training.run_folder import RunFolder

PRETRAINED, FROM_SCRATCH = "pretrained", "from scratch"
COMPARISON, PLOT = "comparison.json", "comparison.png"


@dataclass(frozen=True)
class Arm:
    """One run of the comparison: its name, its plan and its summary."""

    name: str
    plan: Plan
    summary: dict[str, Any]

    @property
    def accuracies(self) -> list[float]:
        """The held-out accuracy after each epoch."""
        return [epoch["accuracy"] for epoch in self.summary["epochs"]]

    @property
    def last(self) -> Share:
        """The held-out accuracy after the last epoch, with its counts."""
        total = self.summary["photos"]["held_out"]
        return Share(round(self.accuracies[-1] * total), total)


def compare(
    plan: Plan,
    start: ParsedCheckpoint,
    out: Path,
    watch: Callable[[str], Watcher],
    world: DistributedContext | None = None,
) -> tuple[Arm, Arm]:
    """Train as planned, and again from scratch; writes a JSON table and a plot to `out`.

    Both runs have the same model shape, photos, split, augmentation and number of epochs. The run
    from scratch has no frozen backbone and no layer-wise decay: all weights are trained from the
    beginning at one learning rate, at least SCRATCH_LEARNING_RATE. An interrupted run is resumed, a
    finished one is kept. `watch` makes the watcher of each run, by its name.

    Raises what `train` raises, and DataError if `out` contains another experiment.
    """
    recipe = plan.recipe
    scratch = replace(
        recipe,
        head_epochs=0,
        epochs=recipe.head_epochs + recipe.epochs,
        learning_rate=max(recipe.learning_rate, SCRATCH_LEARNING_RATE),
        layer_decay=1.0,
        head_factor=1.0,
    )
    plans = {
        PRETRAINED: plan,
        FROM_SCRATCH: replace(plan, weights=SCRATCH, recipe=scratch),
    }
    arms = [
        Arm(name, it, _finished(it, start, out / name.replace(" ", "-"), watch(name), world))
        for name, it in plans.items()
    ]
    table = {
        arm.name: {
            "accuracy": arm.accuracies[-1],
            "interval": list(arm.last.interval),
            "best": max(arm.accuracies),
            "epochs": arm.accuracies,
            "held_out": arm.summary["photos"]["held_out"],
            "minutes": arm.summary["minutes"],
        }
        for arm in arms
    }
    if world is None or world.is_main:
        write_json(out / COMPARISON, table)
        save_figure(draw_comparison({arm.name: arm.accuracies for arm in arms}), out / PLOT)
    return arms[0], arms[1]


def _finished(
    plan: Plan,
    start: ParsedCheckpoint,
    folder: Path,
    watcher: Watcher,
    world: DistributedContext | None,
) -> dict[str, Any]:
    """The summary of a finished run; starts or resumes the run if needed."""
    run = RunFolder(folder)
    # The same options in another order give another command, but the same experiment.
    if run.begun and replace(Plan.from_json(run.plan()), command=plan.command) != plan:
        raise DataError(f"'{folder}' contains a run with another plan; name another folder.")
    if not run.finished:
        train(plan, start, folder, watcher, resume=run.begun, world=world)
    if world is not None:
        world.wait()
    return read_json(folder / SUMMARY, f"'{folder}'")
