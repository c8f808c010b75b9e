"""Toy models whose evidence is known, so that maps can be right or wrong beyond doubt."""

import torch
from torch import nn

from vit_demo.models.base import Classifier

# On a grid of 4 × 4 patches of 8 pixels: what each patch weighs in the answer.
EVIDENCE = torch.tensor(
    [[0.0, 0.0, 0.0, 0.0], [0.0, 3.0, 1.0, 0.0], [0.0, 2.0, 0.5, 0.0], [0.0, 0.0, 0.0, -1.0]]
)


class Planted(Classifier):
    """Class 0 has the logit Σ weight · brightness of each patch, less 2; class 1 has none."""

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
    """Bright where the evidence is, dark elsewhere, so that no patch has the mean colour."""
    bright = (EVIDENCE != 0).float()
    return bright.repeat_interleave(8, 0).repeat_interleave(8, 1).expand(1, 3, 32, 32).clone()
