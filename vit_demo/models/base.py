"""The common interface of all models: configuration, forward pass, and declared capabilities.

b   batch            h, w         image height and width in pixels
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

# Why a model that merges its tokens has no exact sum over patches.
MERGED_TOKENS = (
    "its tokens are merged or pass through convolutions between the layers, so its logits are no "
    "sum over patches"
)


class ModelConfig(ABC):
    """The configuration of a model: a frozen dataclass that validates its values.

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
        """The minimum height and width of an input, in pixels."""

    @property
    def prefix_tokens(self) -> dict[str, int]:
        """Names and counts of the learned tokens before the patches, in order."""
        return {}

    @abstractmethod
    def build(self) -> "Classifier[Any]":
        """Build this model with newly initialized weights."""


C = TypeVar("C", bound=ModelConfig, covariant=True)


class Classifier(nn.Module, Generic[C]):
    """Pixels to logits. An empty `Trace` records the pass; the logits stay bit-identical.

    A subclass declares its capabilities as class attributes and class methods, so that they are
    known before any weights are read. A capability that is not declared is not supported.

    `exact_flows`: the recorded flows say exactly which tokens reach which. `drops_tokens`: `embed`
    and `encode` accept any number of tokens, so that some can be left out. `unreadable_layers`: why
    the head cannot read the output of an inner layer; None if `read` can. `problem`: what the
    logits mean, as the checkpoint states it.
    """

    exact_flows: ClassVar[bool] = False
    drops_tokens: ClassVar[bool] = False
    unreadable_layers: ClassVar[str | None] = "its head reads no layer but the last"

    config: C
    problem: Problem = "single_label"

    @classmethod
    def has_class_token(cls, config: Any) -> bool:
        """Whether a model with this configuration has a class token."""
        del config
        return False

    @classmethod
    def no_linear_read_out(cls, config: Any = None) -> str | None:
        """Why the logits are not an exact sum over the patches; None if they are.

        Without a configuration: the reason that holds for every model of this architecture. A model
        that returns None has the parts of a `VisionTransformer`, from which `explanations.evidence`
        computes the sum.
        """
        del config
        return "its logits are no sum over patches"

    def forward(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """Pixels to logits; every operation that mixes tokens is recorded in the `trace`."""
        raise NotImplementedError

    def embed(
        self, pixels: Float[Tensor, "b channels h w"], trace: Trace | None = None
    ) -> Float[Tensor, "b n d"]:
        """The tokens before the first layer; only if the model `drops_tokens`."""
        raise NotImplementedError

    def encode(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """Layers and head, for some of those tokens; only if the model `drops_tokens`."""
        raise NotImplementedError

    def read(
        self, tokens: Float[Tensor, "b n d"], trace: Trace | None = None
    ) -> Float[Tensor, "b classes"]:
        """Apply the head to the tokens of a layer; only if `unreadable_layers` is None."""
        raise NotImplementedError

    def patch_positions(self) -> Float[Tensor, "n d"] | None:
        """The learned positions of the patches on the configured grid; None if there are none."""
        return None

    def patch_kernel(self) -> Float[Tensor, "d channels p q"] | None:
        """The filters of the patch embedding; None if the model has no patch embedding."""
        return None

    @property
    def spec(self) -> "ModelSpec":
        """This model without its weights."""
        return ModelSpec(type(self), self.config, self.problem)


@dataclass(frozen=True)
class ModelSpec:
    """A model without its weights: its class and configuration, which declare its capabilities."""

    architecture: type[Classifier]
    config: ModelConfig
    problem: Problem = "single_label"


Subject = Classifier | type[Classifier] | ModelSpec


def problem_of(subject: Subject) -> Problem:
    """What the logits of a model mean; for an architecture, its default."""
    return subject.problem


def described(subject: Subject) -> tuple[type[Classifier], ModelConfig | None]:
    """Class and configuration of a model; None as the configuration of an architecture."""
    if isinstance(subject, type):
        return subject, None
    spec = subject.spec if isinstance(subject, Classifier) else subject
    return spec.architecture, spec.config
