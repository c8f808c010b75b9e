"""Numbers of 16 bits: where they are worth their coarseness."""

import torch

# By any of these a processor multiplies numbers of 16 bits faster than those of 32; without them
# it imitates the multiplication, and takes many times as long.
HALVES = ("avx512_bf16", "amx_bf16", "bf16")


def bfloat16_is_faster(device: torch.device) -> bool:
    """Whether this processor is faster in half precision than in full."""
    if device.type != "cpu":
        return True
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in HALVES)
