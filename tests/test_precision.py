"""Half precision is for those who are faster in it."""

import torch

from vit_demo import precision
from vit_demo.precision import bfloat16_is_faster


def test_every_gpu_is_faster_in_half_precision():
    assert bfloat16_is_faster(torch.device("cuda"))


def test_a_processor_is_faster_where_it_says_that_it_can_multiply_so(monkeypatch):
    for able, faster in (({"avx2": True}, False), ({"avx2": True, "amx_bf16": True}, True)):
        monkeypatch.setattr(precision.torch.cpu, "get_capabilities", lambda able=able: able)
        assert bfloat16_is_faster(torch.device("cpu")) is faster
