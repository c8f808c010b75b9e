"""What every model says of itself: its shape, what can be asked of it, and what cannot.

b   batch            h, w         pixels down, across
n   tokens           rows, cols   the patch grid
d   token width
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from vit_demo.predictions import Problem
from vit_demo.trace import Trace

# Why there is no exact sum over patches in a model that merges its tokens.
MERGED_TOKENS = (
    "its tokens are merged or pass through convolutions between the layers, so its logits are no "
    "sum over patches"
)


class ModelConfig(ABC):
    """The shape of a model: a frozen dataclass that refuses contradictions when it is made.

    `image_size` is (height, width) in pixels.
    """

    classes: int
    channels: int
    image_size: tuple[int, int]

    @property
    @abstractmethod
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the map at the configured image size."""

    @property
    @abstractmethod
    def cell(self) -> int:
        """Pixels along one side of a cell of the map."""

    @property
    @abstractmethod
    def least_side(self) -> int:
        """Pixels that an input must have along each side."""

    @property
    def prefix_tokens(self) -> dict[str, int]:
        """Names and numbers of the learned tokens that stand before the patches, in order."""
        return {}

    @abstractmethod
    def build(self) -> "Classifier[Any]":
        """The model of this shape, with fresh weights."""


C = TypeVar("C", bound=ModelConfig, covariant=True)


class Classifier(nn.Module, Generic[C]):
    """Pixels to logits. Hand in an empty `Trace` to record a pass; the logits stay bit-identical.

    A subclass says what it can do, as class attributes and class methods, so that the answer is
    known before any weights are read. What is not said cannot be done.

    `exact_flows`: the flows say exactly which tokens reach which. `drops_tokens`: `embed` and
    `encode` take any number of tokens, so that some can be left out. `unreadable_layers`: why the
    head cannot read what a layer left, None where `read` does that. `problem` is what its logits
    mean, which its checkpoint says.
    """

    exact_flows: ClassVar[bool] = False
    drops_tokens: ClassVar[bool] = False
    unreadable_layers: ClassVar[str | None] = "its head reads no layer but the last"

    config: C
    problem: Problem = "single_label"

    @classmethod
    def has_class_token(cls, config: Any) -> bool:
        """Whether a model of this shape has a class token."""
        del config
        return False

    @classmethod
    def no_linear_read_out(cls, config: Any = None) -> str | None:
        """Why the logits are no exact sum over the patches, None where they are.

        Without a configuration: why those of no model of this architecture are. A model that gives
        None has the parts of a `VisionTransformer`, of which `explanations.evidence` makes the sum.
        """
        del config
        return "its logits are no sum over patches"

    def forward(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """Pixels to logits; every mixing of tokens is recorded in the `trace`."""
        raise NotImplementedError

    def embed(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b n d"]:
        """The tokens before the first layer; only where the model `drops_tokens`."""
        raise NotImplementedError

    def encode(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """Layers and head, for some of those tokens; only where the model `drops_tokens`."""
        raise NotImplementedError

    def read(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """What the head makes of a layer's tokens; only where no `unreadable_layers` are named."""
        raise NotImplementedError

    def patch_positions(self) -> Float[Tensor, "n d"] | None:
        """The learned positions of the patches on the configured grid; None without any."""
        return None

    def patch_kernel(self) -> Float[Tensor, "d channels p q"] | None:
        """The filters that make a token of each patch; None where no patches are cut."""
        return None

    @property
    def spec(self) -> "ModelSpec":
        """This model without its weights."""
        return ModelSpec(type(self), self.config, self.problem)


@dataclass(frozen=True)
class ModelSpec:
    """A model without its weights: its class and its shape, which say what it can do."""

    architecture: type[Classifier]
    config: ModelConfig
    problem: Problem = "single_label"


Subject = Classifier | type[Classifier] | ModelSpec


def problem_of(subject: Subject) -> Problem:
    """What the logits of a model mean; of an architecture, what they usually do."""
    return subject.problem


def described(subject: Subject) -> tuple[type[Classifier], ModelConfig | None]:
    """Class and shape of a model, with its weights or without; an architecture has no shape."""
    if isinstance(subject, type):
        return subject, None
    spec = subject.spec if isinstance(subject, Classifier) else subject
    return spec.architecture, spec.config
