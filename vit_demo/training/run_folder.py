"""The files of a run in progress: its plan, its state and its log."""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vit_demo.checkpoints.catalogue import bundled
from vit_demo.checkpoints.files import CONFIG, WEIGHTS, replacing, write_json
from vit_demo.errors import DataError, OutputError
from vit_demo.training.trainer import State, Step

PLAN, STATE, LOG = "run.json", "state.pt", "log.jsonl"
FINISHED = "finished"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Write the plan and an empty log.

        Raises DataError if the folder contains another run or checkpoint, or has the name of a
        bundled checkpoint; OutputError if it cannot be written to.
        """
        if str(self.path) in bundled():
            raise DataError(
                f"'{self.path}' is the name of a bundled checkpoint, which would be loaded instead "
                "of the new one; name another folder."
            )
        if (self.path / STATE).exists():
            raise DataError(
                f"'{self.path}' contains a run that is not finished; resume it with --resume, or "
                "name another folder."
            )
        if self.finished:
            raise DataError(f"'{self.path}' contains a finished run; name another folder.")
        if not self.begun and any((self.path / name).exists() for name in (CONFIG, WEIGHTS)):
            raise DataError(
                f"'{self.path}' contains a checkpoint that was not made by this command and is not "
                "overwritten; name another folder."
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.path / PLAN, {FINISHED: False, "plan": plan})
            (self.path / LOG).write_text("", encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"'{self.path}' cannot be written to ({error.strerror}); name another folder."
            ) from error

    @property
    def begun(self) -> bool:
        """Whether a run was started here."""
        return (self.path / PLAN).exists()

    @property
    def finished(self) -> bool:
        """Whether the run is finished."""
        return self.begun and self._read()[FINISHED]

    def plan(self) -> dict[str, Any]:
        """The stored plan; raises DataError if there is none."""
        return self._read()["plan"]

    def finish(self) -> None:
        """Mark the run as finished and delete its state."""
        write_json(self.path / PLAN, {**self._read(), FINISHED: True})
        (self.path / STATE).unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads((self.path / PLAN).read_text(encoding="utf-8"))
            return {FINISHED: bool(content[FINISHED]), "plan": content["plan"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"'{self.path}' contains no run to resume ({error}); start one without --resume."
            ) from error

    def save(self, state: State) -> None:
        """Replace the saved state atomically."""
        with replacing(self.path / STATE) as unfinished:
            torch.save(state, unfinished)

    def restored(self, cut: bool) -> State | None:
        """The last saved state, None before the first; `cut` truncates the log to it."""
        state = self._state()
        if cut:
            self._keep_log(state["step"] if state else 0)
        return state

    def _state(self) -> State | None:
        path = self.path / STATE
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise DataError(
                f"'{path}' is damaged ({error}); delete it to start the run again."
            ) from error

    def note(self, step: Step, seconds: float) -> None:
        """Append a line to the log: a step, or the end of an epoch with its score."""
        line: dict[str, Any] = {
            "step": step.step,
            "stage": step.stage,
            "epoch": step.epoch,
            "loss": step.loss,
            "rate": step.rate,
            "seconds": round(seconds, 2),
        }
        if step.score:
            line |= {"accuracy": step.score.accuracy, "held_out_loss": step.score.loss}
        with (self.path / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def log(self) -> list[dict[str, Any]]:
        """All lines of the log; an incomplete last line is skipped."""
        path = self.path / LOG
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def _keep_log(self, steps: int) -> None:
        """Remove the lines after a state; a resumed run will write them again."""
        kept = [line for line in self.log() if line["step"] <= steps]
        with replacing(self.path / LOG) as unfinished:
            unfinished.write_text(
                "".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8"
            )
