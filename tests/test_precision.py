"""bfloat16 is used only on devices that are faster in it."""

import torch

from vit_demo import precision
from vit_demo.precision import bfloat16_is_faster


def test_every_gpu_is_faster_in_bfloat16():
    assert bfloat16_is_faster(torch.device("cuda"))


def test_a_cpu_is_faster_if_it_has_a_bfloat16_feature(monkeypatch):
    for features, faster in (({"avx2": True}, False), ({"avx2": True, "amx_bf16": True}, True)):
        monkeypatch.setattr(precision.torch.cpu, "get_capabilities", lambda it=features: it)
        assert bfloat16_is_faster(torch.device("cpu")) is faster
