"""How to train: every number that shapes a run, in one place that can be written down."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from vit_demo.data.augmentation import Augmentation
from vit_demo.errors import ConfigError, nearest

COUNTS = ("epochs", "batch_size")
POSITIVE = ("head_learning_rate", "learning_rate", "layer_decay", "head_factor", "gradient_clip")
NOT_NEGATIVE = ("head_epochs", "weight_decay", "warm_up_steps", "mixup", "cutmix", "workers")
# For a start from chance, where there is nothing to be careful of.
SCRATCH_LEARNING_RATE = 2e-4

# Fields that are called otherwise in training.json and run.json, whose keys stay.
JSON_NAMES = {"ema_decay": "average"}
EARLIER_NAMES = {
    "average": "ema_decay",
    "operations": "num_ops",
    "strength": "magnitude",
}

SHARES = ("label_smoothing", "ema_decay", "drop_path", "patch_dropout")


@dataclass(frozen=True)
class Stage:
    """Some epochs in which the same parameters learn: the head alone, or all of them."""

    name: Literal["head", "all"]
    epochs: int

    @property
    def frozen(self) -> bool:
        """Whether the backbone stays as it is."""
        return self.name == "head"


@dataclass(frozen=True)
class Recipe:
    """How to train. Nonsense is refused when it is made.

    First the head alone learns for `head_epochs` on a frozen backbone, at `head_learning_rate`,
    which is high: gradients through a randomly initialized head distort pretrained features
    (arXiv 2202.10054). Then everything learns for `epochs`. `learning_rate` is that of the last
    encoder block. Each block further from the head learns `layer_decay` times as fast as the one
    after it, the head `head_factor` times as fast as the last block.

    `ema_decay` is the share of the old that stays at every step in the running mean of the weights,
    which is what is scored and written; 0 writes the weights themselves. `mixup`
    (arXiv 1710.09412) and `cutmix` (arXiv 1905.04899) are the parameters of their beta
    distributions, 0 for without; a batch gets one of the two at the most. `patch_dropout` leaves
    out that share of the patches while training (arXiv 2208.07220), which also makes a step
    cheaper. None of the three is done while the head learns alone. `bfloat16` multiplies in half
    precision, which pays on a GPU and on processors that have it, and takes many times as long on
    others.
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
        """The stages with anything to do, in order."""
        planned = (Stage("head", self.head_epochs), Stage("all", self.epochs))
        return tuple(stage for stage in planned if stage.epochs)

    def as_json(self) -> dict[str, Any]:
        """Every number, as it can be written down and read again."""
        content = asdict(self) | {"augmentation": self.augmentation.as_json()}
        return {JSON_NAMES.get(name, name): value for name, value in content.items()}

    def changed(self, changes: Mapping[str, str]) -> "Recipe":
        """With some numbers replaced, of the augmentation too: {"mixup": "0.2", "erase": "0.1"}.

        Raises ConfigError for a name that is no single number of a recipe, or a value that is none.
        """
        own, views = {}, {}
        for given, text in changes.items():
            name = EARLIER_NAMES.get(given, given)
            for home, found in ((self, own), (self.augmentation, views)):
                if isinstance(getattr(home, name, None), int | float):
                    found[name] = _number(name, text, type(getattr(home, name)))
                    break
            else:
                raise ConfigError(
                    f"A recipe has no '{name}'; {nearest(name, self.names)} All: "
                    f"{', '.join(self.names)}."
                )
        return replace(self, **own, augmentation=replace(self.augmentation, **views))

    @property
    def names(self) -> list[str]:
        """The single numbers of a recipe, by name."""
        return [
            each.name
            for home in (self, self.augmentation)
            for each in fields(home)
            if isinstance(getattr(home, each.name), int | float)
        ]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Recipe":
        """Read what `as_json` wrote; raises ConfigError for names that are not of a recipe."""
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
        what = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{name}={text}, but it must be {what}.") from error
