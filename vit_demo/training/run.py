"""A complete training run: from photos and starting weights to a checkpoint folder."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vit_demo.checkpoints import hf_format
from vit_demo.checkpoints.checkpoint import ParsedCheckpoint
from vit_demo.checkpoints.files import BEST, SUMMARY, write_json
from vit_demo.data.dataset_checks import Checked, check
from vit_demo.data.folder import parts, relative_name, relative_names
from vit_demo.errors import DataError, StoppedError
from vit_demo.figures.curves import save_curves
from vit_demo.training.adapt import fold_layer_scale
from vit_demo.training.distributed import DistributedContext
from vit_demo.training.plan import SCRATCH, Plan, fresh_model, shape
from vit_demo.training.run_folder import RunFolder
from vit_demo.training.trainer import Step, Trainer

CURVES = "curves.png"

EPOCH_FIGURES = ("epoch", "stage", "step", "loss", "accuracy", "held_out_loss", "seconds")


class Watcher:
    """Callbacks of a run, which can also stop it; this base class does nothing."""

    def step(self, step: Step) -> None:
        """Called after every step."""

    def checked(self, checked: Checked) -> None:
        """Called after all photos were checked, before the first step."""

    def stop(self) -> bool:
        """Whether to stop after the current step."""
        return False


def train(
    plan: Plan,
    start: ParsedCheckpoint | None,
    out: Path,
    watcher: Watcher,
    *,
    resume: bool = False,
    save_every: int = 50,
    world: DistributedContext | None = None,
) -> Step | None:
    """Train as planned, and write the checkpoint and its records to `out`; returns the last step.

    Returns None if a resumed run had no steps left. After every epoch `out` contains the checkpoint
    of that epoch and `out/best` the best one so far; it is selected on the held-out photos, so its
    score is optimistic. The state is saved every `save_every` steps; with `resume` a run continues
    from there to exactly the same weights.

    Raises DataError for unusable photos or folders, UnsupportedError for an unsupported start,
    StoppedError if the watcher stopped the run.
    """
    world = world or DistributedContext()
    # Check the shape first, before all photos are opened.
    labels = parts(Path(plan.data), plan.leave_out)[0].labels
    config, preprocessing = shape(plan, start, len(labels))
    checked = check(Path(plan.data), plan.held_out, plan.recipe.seed, plan.leave_out, plan.fold)
    watcher.checked(checked)
    trainer = Trainer(
        fresh_model(config, start if plan.weights != SCRATCH else None, plan.recipe.seed),
        checked.split.training,
        checked.split.held_out,
        preprocessing,
        plan.recipe,
        world,
    )
    run = _Run(plan, checked, trainer, RunFolder(out))
    seconds_before = run.resume() if resume else run.begin()
    return run.follow(watcher, save_every, seconds_before)


@dataclass(frozen=True)
class _Run:
    """One run in progress, and its folder."""

    plan: Plan
    checked: Checked
    trainer: Trainer
    folder: RunFolder

    def begin(self) -> float:
        """Write the records of a new run; returns 0 seconds."""
        if self.trainer.world.is_main:
            self.folder.begin(self.plan.as_json())
        return 0.0

    def resume(self) -> float:
        """Restore the last saved state; returns the seconds spent until then."""
        if self.folder.finished:
            raise DataError(
                f"The run in '{self.folder.path}' is finished; there is nothing to resume."
            )
        state = self.folder.restored(cut=self.trainer.world.is_main)
        if state is None:
            return 0.0
        size = self.trainer.world.size
        if state["processes"] != size:
            raise DataError(
                f"The run in '{self.folder.path}' was started with {state['processes']} processes "
                f"and would give other results with {size}; use the same number."
            )
        if state["photos"] != self._photos():
            raise DataError(
                f"The photos in '{self.plan.data}' have changed since the run was started; restore "
                "them, or start a new run."
            )
        self.trainer.restore(state["trainer"])
        return state["seconds"]

    def _photos(self) -> list[str]:
        split = self.checked.split
        return relative_names((*split.training, *split.held_out), Path(self.plan.data))

    def follow(self, watcher: Watcher, save_every: int, seconds_before: float) -> Step | None:
        """Run the training steps and record them; `seconds_before` is the time spent earlier."""
        start = time.monotonic()
        world = self.trainer.world
        last: Step | None = None
        for last in self.trainer:
            seconds = seconds_before + time.monotonic() - start
            stops = world.total(float(world.is_main and watcher.stop())) > 0
            if world.is_main:
                self.folder.note(last, seconds)
                if last.score:
                    self.write(last, seconds)
                if last.score or stops or last.step % save_every == 0:
                    self.save(seconds)
                watcher.step(last)
            if stops and last.step < last.steps:
                raise StoppedError(
                    f"Stopped after step {last.step} of {last.steps}; resume with finetune "
                    f"--resume --out {self.folder.path}, or with the same experiment command, and "
                    "the same number of processes."
                )
        if world.is_main:
            self.folder.finish()
        return last

    def save(self, seconds: float) -> None:
        """Save everything that is needed to resume."""
        state = {
            "step": self.trainer.step,
            "seconds": seconds,
            "processes": self.trainer.world.size,
            "photos": self._photos(),
            "trainer": self.trainer.state(),
        }
        self.folder.save(state)

    def write(self, step: Step, seconds: float) -> None:
        """Write the checkpoint of this epoch, the best one so far, the summary and the curves."""
        out = self.folder.path
        lines = self.folder.log()
        epochs = [line for line in lines if "accuracy" in line]
        self._write_checkpoint(out)
        if epochs[-1]["accuracy"] == max(line["accuracy"] for line in epochs):
            self._write_checkpoint(out / BEST)
        write_json(out / SUMMARY, self._summary(epochs, seconds))
        save_curves(
            [(line["step"], line["loss"]) for line in lines],
            [(line["step"], line["accuracy"]) for line in epochs],
            out / CURVES,
        )

    def _summary(self, epochs: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, Any]:
        """The content of training.json so far."""
        split, root = self.checked.split, Path(self.plan.data)
        return {
            **self.plan.as_json(),
            "photos": {
                "training": len(split.training),
                "held_out": len(split.held_out),
                "classes": split.counts((*split.training, *split.held_out)),
                "unreadable": len(self.checked.unreadable),
                "duplicates": len(self.checked.duplicates),
            },
            "epochs": [{name: line[name] for name in EPOCH_FIGURES} for line in epochs],
            "accuracy": epochs[-1]["accuracy"],
            "minutes": round(seconds / 60, 1),
            "processes": self.trainer.world.size,
            "held_out_photos": relative_names(split.held_out, root),
            "unreadable_photos": [
                {"photo": relative_name(path, root), "reason": why}
                for path, why in self.checked.unreadable
            ],
            "duplicate_photos": [
                {"held_out": relative_name(kept, root), "training": relative_name(trained, root)}
                for kept, trained in self.checked.duplicates
            ],
        }

    def _write_checkpoint(self, folder: Path) -> None:
        trainer = self.trainer
        config = replace(trainer.model.config, layer_scale=None, drop_path=0.0, patch_dropout=0.0)
        labels = self.checked.split.labels
        hf_format.write(
            folder,
            config,
            fold_layer_scale(trainer.result.state_dict()),
            labels,
            trainer.preprocessing,
            torch.float16,
        )
