"""When bfloat16 is faster than float32."""

import torch

# CPU features with hardware bfloat16 multiplication. Without one of them bfloat16 is emulated,
# which is many times slower than float32.
BFLOAT16_FEATURES = ("avx512_bf16", "amx_bf16", "bf16")


def bfloat16_is_faster(device: torch.device) -> bool:
    """Whether this device computes faster in bfloat16 than in float32."""
    if device.type != "cpu":
        return True
    features = torch.cpu.get_capabilities()
    return any(features.get(name, False) for name in BFLOAT16_FEATURES)
