"""A toy model with known patch weights, so that maps are known to be right or wrong."""

import torch
from torch import nn

from vit_demo.models.base import Classifier

# On a grid of 4 × 4 patches of 8 pixels: the weight of each patch in the logit of class 0.
EVIDENCE = torch.tensor(
    [[0.0, 0.0, 0.0, 0.0], [0.0, 3.0, 1.0, 0.0], [0.0, 2.0, 0.5, 0.0], [0.0, 0.0, 0.0, -1.0]]
)


class Planted(Classifier):
    """The logit of class 0 is Σ weight · brightness over the patches, minus 2; class 1 has 0."""

    def __init__(self, config, evidence=EVIDENCE):
        super().__init__()
        self.config, self.evidence = config, evidence

    def forward(self, pixels, trace=None):
        if trace is not None:
            trace.begin((4, 4))
        bright = nn.functional.avg_pool2d(pixels.mean(dim=1), 8)
        logit = (bright * self.evidence).sum(dim=(1, 2)) - 2
        return torch.stack([logit, torch.zeros_like(logit)], dim=1)


def bright_photo():
    """Bright where the weights are nonzero, dark elsewhere; no patch has the mean color."""
    bright = (EVIDENCE != 0).float()
    return bright.repeat_interleave(8, 0).repeat_interleave(8, 1).expand(1, 3, 32, 32).clone()
