"""The convolutions of a mobile network.

b   batch            h, w         height and width of a feature map before the operation
c   channels before  rows, cols   height and width after it
e   channels after
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from vit_demo.models.grids import square_sharing
from vit_demo.trace import Trace

KERNEL = 3


class BatchNorm(nn.Module):
    """Batch normalization: every channel gets a learned mean and deviation (arXiv 1502.03167).

    It computes the same as PyTorch's module, without that module's batch counter, which is not used
    here and is missing in some files.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.running_mean = nn.Buffer(torch.zeros(channels))
        self.running_var = nn.Buffer(torch.ones(channels))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return functional.batch_norm(
            features,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )


class ConvNorm(nn.Module):
    """A convolution without bias, batch norm, and SiLU unless it is `linear`."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.bn = BatchNorm(out)
        self.act = nn.Identity() if linear else nn.SiLU()

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e rows cols"]:
        return self.act(self.bn(self.conv(features)))


class InvertedResidual(nn.Module):
    """Expand, convolve depthwise, and project (MobileNetV2, arXiv 1801.04381).

    It has a residual connection if the input and output shapes are equal.
    """

    def __init__(self, channels: int, hidden: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.residual = stride == 1 and channels == out
        self.conv1_1x1 = ConvNorm(channels, hidden)
        self.conv2_kxk = ConvNorm(hidden, hidden, KERNEL, stride, groups=hidden)
        self.conv3_1x1 = ConvNorm(hidden, out, linear=True)

    def forward(
        self, features: Float[Tensor, "b c h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b e rows cols"]:
        # The map has the grid of the first attention, so strides before it are not recorded.
        if trace is not None and trace.grid is not None and self.stride > 1:
            grid = (features.shape[2], features.shape[3])
            trace.record(square_sharing(grid, KERNEL, self.stride, -(KERNEL // 2), features.device))
        narrowed = self.conv3_1x1(self.conv2_kxk(self.conv1_1x1(features)))
        return features + narrowed if self.residual else narrowed


def round_to_eight(channels: float) -> int:
    """The nearest multiple of eight, or the next one if that is below 90 % of `channels`."""
    multiple, least = 8, 0.9
    rounded = max(multiple, int(channels + multiple / 2) // multiple * multiple)
    return rounded if rounded >= least * channels else rounded + multiple
