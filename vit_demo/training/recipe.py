"""The recipe: all hyperparameters of a training run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from vit_demo.data.augmentation import Augmentation
from vit_demo.errors import ConfigError, nearest

COUNTS = ("epochs", "batch_size")
POSITIVE = ("head_learning_rate", "learning_rate", "layer_decay", "head_factor", "gradient_clip")
NOT_NEGATIVE = ("head_epochs", "weight_decay", "warm_up_steps", "mixup", "cutmix", "workers")
# For training from scratch, which needs a higher rate than fine-tuning.
SCRATCH_LEARNING_RATE = 2e-4

# Fields with different keys in training.json and run.json; these keys must not change.
JSON_NAMES = {"ema_decay": "average"}
EARLIER_NAMES = {
    "average": "ema_decay",
    "operations": "num_ops",
    "strength": "magnitude",
}

SHARES = ("label_smoothing", "ema_decay", "drop_path", "patch_dropout")


@dataclass(frozen=True)
class Stage:
    """A number of epochs in which the same parameters are trained: only the head, or all."""

    name: Literal["head", "all"]
    epochs: int

    @property
    def frozen(self) -> bool:
        """Whether the backbone is frozen."""
        return self.name == "head"


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a run; raises ConfigError for invalid values.

    First only the head is trained for `head_epochs` on a frozen backbone, at the high
    `head_learning_rate`: gradients through a randomly initialized head distort pretrained features
    (arXiv 2202.10054). Then all weights are trained for `epochs`. `learning_rate` is the rate of
    the last encoder block. The rate of each earlier block is `layer_decay` times that of the next
    one; the rate of the head is `head_factor` times that of the last block.

    `ema_decay` is the decay of the exponential moving average of the weights, which is evaluated
    and saved; 0 uses the weights themselves. `mixup` (arXiv 1710.09412) and `cutmix` (arXiv
    1905.04899) are the parameters of their beta distributions, 0 to disable; each batch gets at
    most one of the two. `patch_dropout` is the share of patches dropped during training (arXiv
    2208.07220), which also makes a step faster. None of the three is used while only the head is
    trained. `bfloat16` uses mixed precision, which is faster on a GPU and on CPUs that support it,
    and many times slower on others.
    """

    head_epochs: int = 1
    epochs: int = 16
    batch_size: int = 32
    head_learning_rate: float = 1e-2
    learning_rate: float = 6e-5
    layer_decay: float = 0.75
    head_factor: float = 1.0
    weight_decay: float = 0.05
    warm_up_steps: int = 60
    label_smoothing: float = 0.1
    gradient_clip: float = 1.0
    ema_decay: float = 0.995
    drop_path: float = 0.0
    patch_dropout: float = 0.4
    mixup: float = 0.2
    cutmix: float = 1.0
    bfloat16: bool = False
    workers: int = 1
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in (*COUNTS, *POSITIVE):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}={getattr(self, name)}, but it must be above 0.")
        for name in NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)}, but it must be 0 or more.")
        for name in SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}, but it must lie in [0, 1).")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages with at least one epoch, in order."""
        stages = (Stage("head", self.head_epochs), Stage("all", self.epochs))
        return tuple(stage for stage in stages if stage.epochs)

    def as_json(self) -> dict[str, Any]:
        """The recipe as JSON, which `from_json` reads."""
        content = asdict(self) | {"augmentation": self.augmentation.as_json()}
        return {JSON_NAMES.get(name, name): value for name, value in content.items()}

    def changed(self, changes: Mapping[str, str]) -> "Recipe":
        """A copy with some numbers replaced, e.g. {"mixup": "0.2", "erase": "0.1"}.

        The names may be those of the augmentation. Raises ConfigError for an unknown name or an
        invalid value.
        """
        own, views = {}, {}
        for key, text in changes.items():
            name = EARLIER_NAMES.get(key, key)
            for owner, values in ((self, own), (self.augmentation, views)):
                if isinstance(getattr(owner, name, None), int | float):
                    values[name] = _number(name, text, type(getattr(owner, name)))
                    break
            else:
                raise ConfigError(
                    f"A recipe has no '{name}'; {nearest(name, self.names)} All: "
                    f"{', '.join(self.names)}."
                )
        return replace(self, **own, augmentation=replace(self.augmentation, **views))

    @property
    def names(self) -> list[str]:
        """The names of all numbers of the recipe and its augmentation."""
        return [
            each.name
            for owner in (self, self.augmentation)
            for each in fields(owner)
            if isinstance(getattr(owner, each.name), int | float)
        ]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Recipe":
        """Read the JSON of `as_json`; raises ConfigError for unknown names."""
        names = {JSON_NAMES.get(known.name, known.name): known.name for known in fields(cls)}
        unknown = content.keys() - names.keys()
        if unknown:
            raise ConfigError(
                f"A recipe has no {', '.join(sorted(unknown))}; it was written by another version."
            )
        own = {names[key]: value for key, value in content.items()}
        return cls(**{**own, "augmentation": Augmentation.from_json(content["augmentation"])})


def _number(name: str, text: str, kind: type) -> int | float | bool:
    if kind is bool:
        if text in ("true", "false"):
            return text == "true"
        raise ConfigError(f"{name}={text}, but it must be true or false.")
    try:
        return kind(text)
    except ValueError as error:
        expected = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{name}={text}, but it must be {expected}.") from error
