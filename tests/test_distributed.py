"""Where training runs, as torchrun's variables say it."""

import pytest

from vit_demo.errors import ConfigError
from vit_demo.training.distributed import DistributedContext, joined, launcher


def test_without_torchrun_a_process_is_alone():
    assert launcher({}) == launcher({"LOCAL_WORLD_SIZE": "1"}) == ["python"]
    with joined({}) as world:
        assert (world.size, world.is_main, world.total(3.0)) == (1, True, 3.0)
        assert world == DistributedContext(device=world.device)


def test_a_run_of_several_processes_can_be_started_as_it_was():
    assert launcher({"LOCAL_WORLD_SIZE": "2"}) == ["torchrun", "--nproc-per-node", "2"]


def test_what_is_no_number_of_processes_is_refused():
    with pytest.raises(ConfigError, match="LOCAL_WORLD_SIZE='two' is not a number"):
        launcher({"LOCAL_WORLD_SIZE": "two"})
