"""Where training runs: one process on its own, or several that share every batch."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from vit_demo.errors import ConfigError
from vit_demo.precision import bfloat16_is_faster


@dataclass(frozen=True)
class DistributedContext:
    """This process's place among all that train together, and its device as torch names it."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def is_main(self) -> bool:
        """Whether this is the process that reports and writes."""
        return self.rank == 0

    def total(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.size == 1:
            return value
        summed = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.all_reduce(summed)
        return summed.item()

    def wait(self) -> None:
        """Go on when all have come this far."""
        if self.size > 1:
            distributed.barrier()


def bfloat16_is_faster_here() -> bool:
    """Whether training would be faster in half precision, on the device that `joined` chooses."""
    return bfloat16_is_faster(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def launcher(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The words by which this process was started: python's, or torchrun's with its processes."""
    here = _number(environment, "LOCAL_WORLD_SIZE", 1)
    return ["python"] if here == 1 else ["torchrun", "--nproc-per-node", str(here)]


@contextmanager
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[DistributedContext]:
    """The world that `torchrun` describes in the environment; without it, this process alone.

    Runs on the GPU where there is one. Raises ConfigError for a description that makes no sense.
    """
    size = _number(environment, "WORLD_SIZE", 1)
    rank, place = _number(environment, "RANK", 0), _number(environment, "LOCAL_RANK", 0)
    gpu = torch.cuda.is_available()
    device = f"cuda:{place}" if gpu else "cpu"
    if size == 1:
        yield DistributedContext(device=device)
        return
    if gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if gpu else "gloo")
    world = DistributedContext(rank, size, device)
    try:
        yield world
        # A process that left while another still had something to send would break both off.
        world.wait()
    finally:
        distributed.destroy_process_group()


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal():
        raise ConfigError(f"{name}='{text}' is no number; start several processes with torchrun.")
    return int(text)
