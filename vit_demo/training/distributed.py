"""Distributed training: one process, or several that share every batch."""

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
    """The rank of this process, the number of processes, and the torch device."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes files."""
        return self.rank == 0

    def total(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.size == 1:
            return value
        summed = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.all_reduce(summed)
        return summed.item()

    def wait(self) -> None:
        """Wait for all processes to reach this point."""
        if self.size > 1:
            distributed.barrier()


def bfloat16_is_faster_here() -> bool:
    """Whether training is faster in bfloat16, on the device that `joined` selects."""
    return bfloat16_is_faster(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def launcher(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The command that started this process: python, or torchrun with its number of processes."""
    processes = _number(environment, "LOCAL_WORLD_SIZE", 1)
    return ["python"] if processes == 1 else ["torchrun", "--nproc-per-node", str(processes)]


@contextmanager
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[DistributedContext]:
    """Join the process group that `torchrun` describes in the environment, or run alone.

    Uses the GPU if there is one. Raises ConfigError for invalid environment variables.
    """
    size = _number(environment, "WORLD_SIZE", 1)
    rank, local_rank = _number(environment, "RANK", 0), _number(environment, "LOCAL_RANK", 0)
    gpu = torch.cuda.is_available()
    device = f"cuda:{local_rank}" if gpu else "cpu"
    if size == 1:
        yield DistributedContext(device=device)
        return
    if gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if gpu else "gloo")
    world = DistributedContext(rank, size, device)
    try:
        yield world
        # Wait before leaving: a process that leaves early would abort one that is still sending.
        world.wait()
    finally:
        distributed.destroy_process_group()


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal():
        raise ConfigError(
            f"{name}='{text}' is not a number; start several processes with torchrun."
        )
    return int(text)
