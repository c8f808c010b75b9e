"""Temperature and confidence threshold of a checkpoint, stored in its config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from vit_demo.checkpoints.files import CONFIG, read_json, write_json
from vit_demo.checks import check_number, is_finite
from vit_demo.errors import CheckpointError, ConfigError, OutputError

# Our own key. The transformers library ignores unknown keys and computes the same logits.
KEY = "calibration"


@dataclass(frozen=True)
class Calibration:
    """Probabilities are the softmax of logits / `temperature` (Guo et al. 2017, arXiv 1706.04599).

    If the probability of the top class is below `unsure_below`, the prediction is called unsure;
    with None it never is.
    """

    temperature: float = 1.0
    unsure_below: float | None = None

    def __post_init__(self) -> None:
        if not (is_finite(self.temperature) and self.temperature > 0):
            raise ConfigError(
                f"temperature={self.temperature}, but it must be a finite number above 0."
            )
        check_number("temperature", self.temperature)
        if self.unsure_below is not None and not (
            is_finite(self.unsure_below) and 0 <= self.unsure_below <= 1
        ):
            raise ConfigError(
                f"unsure_below={self.unsure_below}, but a probability lies between 0 and 1."
            )

    def as_json(self) -> dict[str, float]:
        """The JSON value that is stored under `KEY`."""
        threshold = {} if self.unsure_below is None else {"unsure_below": self.unsure_below}
        return {"temperature": self.temperature, **threshold}


def read_calibration(config_json: Mapping[str, Any], source: str) -> Calibration:
    """Read the calibration from a configuration; without the key, return the defaults.

    Raises CheckpointError for an invalid temperature or threshold.
    """
    match config_json.get(KEY):
        case None:
            return Calibration()
        case dict(stated):
            pass
        case stated:
            raise CheckpointError(f"{source}: {_refusal(f'{KEY} is {shortened(stated)}')}")
    numbers: dict[str, float] = {}
    for name in ("temperature", "unsure_below"):
        value = stated.get(name)
        if value is None:
            continue
        if isinstance(value, float):  # includes NaN and infinity, which Calibration rejects
            numbers[name] = value
        elif is_finite(value):
            numbers[name] = float(value)
        else:
            raise CheckpointError(f"{source}: {_refusal(f'{name} is {shortened(value)}')}")
    try:
        return Calibration(**numbers)
    except ConfigError as error:
        raise CheckpointError(f"{source}: {_refusal(str(error).rstrip('.'))}") from error


def _refusal(found: str) -> str:
    return (
        f'{found} in {CONFIG}; write "{KEY}": {{"temperature": 1.3, "unsure_below": 0.6}}, '
        "or take the key out."
    )


def store_calibration(folder: Path, calibration: Calibration) -> None:
    """Write the calibration to the folder's config.json atomically.

    Raises CheckpointError if there is no such file, OutputError if it cannot be written.
    """
    config_json = read_json(folder / CONFIG, f"'{folder}'")
    try:
        write_json(folder / CONFIG, config_json | {KEY: calibration.as_json()})
    except OSError as error:
        raise OutputError(
            f"'{folder / CONFIG}' cannot be written ({error.strerror}); "
            "copy the checkpoint to a folder of your own and calibrate that."
        ) from error
