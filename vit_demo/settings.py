"""Paths and limits; `Settings.from_environment` reads the environment, the import does not."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vit_demo.errors import ConfigError

MEGABYTE = 1_000_000
ASSETS = Path(__file__).parents[1] / "assets"

LIMITS = ("memory_mb", "download_mb", "results_mb")


@dataclass(frozen=True)
class Settings:
    """Limits of one running app.

    `memory_mb` limits the memory of all loaded checkpoints, `download_mb` the size of one download,
    and `results_mb` the stored results of all visitors. `space_id` is `owner/name` of the Space
    that the app runs on, if any. `host` is the address that Gradio binds by default; None means
    the loopback address.
    """

    memory_mb: int = 4000
    download_mb: int = 3000
    results_mb: int = 500
    on_space: bool = False
    space_id: str = ""
    host: str | None = None

    def __post_init__(self) -> None:
        for name in LIMITS:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}, but it must be 1 or more.")

    @property
    def memory_bytes(self) -> int:
        """The limit on loaded checkpoints, in bytes."""
        return self.memory_mb * MEGABYTE

    @property
    def download_bytes(self) -> int:
        """The largest checkpoint that may be downloaded, in bytes."""
        return self.download_mb * MEGABYTE

    @property
    def results_bytes(self) -> int:
        """The limit on all visitors' results, in bytes."""
        return self.results_mb * MEGABYTE

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read VIT_DEMO_MEMORY_MB, …_DOWNLOAD_MB, …_RESULTS_MB, SPACE_ID, GRADIO_SERVER_NAME."""
        limits: dict[str, int] = {}
        for name in LIMITS:
            variable = f"VIT_DEMO_{name.upper()}"
            if (text := environment.get(variable)) is None:
                continue
            if not text.isdecimal():
                raise ConfigError(f"{variable}='{text}' is not a whole number of megabytes.")
            limits[name] = int(text)
        host = environment.get("GRADIO_SERVER_NAME")
        space = environment.get("SPACE_ID")
        return cls(**limits, on_space=space is not None, space_id=space or "", host=host)
