"""Fine-tune a Vision Transformer: stages, steps, scores, and a state that can be resumed."""

import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from vit_demo.data.augmentation import mix
from vit_demo.data.dataset import Photos, Sample, Views, batches
from vit_demo.data.seeding import seeded_rng, torch_seed
from vit_demo.errors import CheckpointError, DataError
from vit_demo.models.vit import VisionTransformer
from vit_demo.preprocess import Preprocessing
from vit_demo.training.distributed import DistributedContext
from vit_demo.training.recipe import Recipe, Stage
from vit_demo.training.schedule import parameter_groups, running_mean, warm_up_then_cosine

State = dict[str, Any]

# The warm-up takes at most 1 / MIN_WARM_UP_RATIO of a stage.
MIN_WARM_UP_RATIO = 3


@dataclass(frozen=True)
class Score:
    """The accuracy on the held-out photos, and their mean loss in nats."""

    accuracy: float
    loss: float


@dataclass(frozen=True)
class Step:
    """The report of one training step; with a `score` at the end of an epoch."""

    step: int
    steps: int
    stage: str
    epoch: int
    loss: float
    rate: float
    score: Score | None = None


class Trainer:
    """Trains `model` in place; iterating over the trainer runs the steps.

    A trainer with the same arguments that restores the `state` after any step continues to exactly
    the same weights. With several processes, each gets its part of every batch and applies mixup
    and cutmix within that part.
    """

    def __init__(
        self,
        model: VisionTransformer,
        training: Sequence[Sample],
        held_out: Sequence[Sample],
        preprocessing: Preprocessing,
        recipe: Recipe,
        world: DistributedContext | None = None,
    ) -> None:
        self.world = world or DistributedContext()
        if recipe.batch_size % self.world.size:
            raise DataError(
                f"A batch of {recipe.batch_size} cannot be divided evenly among {self.world.size} "
                f"processes; choose a multiple of {self.world.size}."
            )
        self.model = model.to(self.world.device)
        self.training, self.held_out = training, held_out
        self.preprocessing, self.recipe = preprocessing, recipe
        self.per_epoch = len(batches(len(training), recipe.batch_size, recipe.seed, 0))
        self.steps = self.per_epoch * sum(stage.epochs for stage in recipe.stages)
        self.step = 0
        self.losses: list[float] = []
        self._start_stage(recipe.stages[0])

    @property
    def result(self) -> VisionTransformer:
        """The model that is evaluated and saved: the moving average, or the model itself."""
        return cast(VisionTransformer, self.averaged.module) if self.averaged else self.model

    def state(self) -> State:
        """Everything that is needed to resume from here."""
        return {
            "step": self.step,
            "losses": self.losses,
            "stage": self.stage.name,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: State) -> None:
        """Resume from a `state`."""
        self.step, self.losses = state["step"], list(state["losses"])
        self.model.load_state_dict(state["model"])
        stage = next(stage for stage in self.recipe.stages if stage.name == state["stage"])
        self._start_stage(stage)
        self.optimiser.load_state_dict(state["optimiser"])
        if self.averaged:
            self.averaged.load_state_dict(state["averaged"])

    def __iter__(self) -> Iterator[Step]:
        for epoch, stage in enumerate(self._epochs(), start=1):
            if self.step >= epoch * self.per_epoch:
                continue
            if stage != self.stage:
                self._start_stage(stage)
            yield from self._epoch(epoch)

    def _epochs(self) -> list[Stage]:
        return [stage for stage in self.recipe.stages for _ in range(stage.epochs)]

    def _epoch(self, epoch: int) -> Iterator[Step]:
        done = self.step - (epoch - 1) * self.per_epoch
        rate = 0.0
        for pixels, labels in self._loader(epoch, done):
            rate = self._set_rates()
            loss = self._train_step(pixels.to(self.world.device), labels.to(self.world.device))
            self.step += 1
            self.losses.append(loss)
            if self.step % self.per_epoch:
                yield self._report(epoch, loss, rate)
        mean, self.losses = fmean(self.losses), []
        yield self._report(epoch, mean, rate, self.score())

    def _report(self, epoch: int, loss: float, rate: float, score: Score | None = None) -> Step:
        return Step(self.step, self.steps, self.stage.name, epoch, loss, rate, score)

    def _start_stage(self, stage: Stage) -> None:
        """Set the trainable parameters, a new optimizer and a new moving average."""
        self.stage = stage
        (self.model.freeze_backbone if stage.frozen else self.model.unfreeze)()
        self.optimiser = torch.optim.AdamW(parameter_groups(self.model, self.recipe, stage))
        self.peak_rates = [group["lr"] for group in self.optimiser.param_groups]
        self.averaged = (
            AveragedModel(self.model, multi_avg_fn=running_mean(self.recipe.ema_decay))
            if self.recipe.ema_decay
            else None
        )
        self.parallel = DistributedDataParallel(self.model) if self.world.size > 1 else self.model

    def _set_rates(self) -> float:
        """Set the learning rate of every group for the next step; returns the largest one."""
        names = [stage.name for stage in self._epochs()]
        first = names.index(self.stage.name) * self.per_epoch
        steps = names.count(self.stage.name) * self.per_epoch
        # Otherwise a short run with few photos would consist of the warm-up only.
        warm_up = min(self.recipe.warm_up_steps, steps // MIN_WARM_UP_RATIO)
        factor = warm_up_then_cosine(self.step - first, warm_up, steps)
        for group, peak in zip(self.optimiser.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak * factor
        return factor * max(self.peak_rates)

    def _loader(
        self, epoch: int, done: int
    ) -> Iterable[tuple[Float[Tensor, "b 3 h w"], Int[Tensor, " b"]]]:
        recipe, world = self.recipe, self.world
        views = Views(self.training, self.preprocessing, recipe.augmentation, recipe.seed)
        all_batches = batches(
            len(self.training), recipe.batch_size, recipe.seed, epoch, world.rank, world.size
        )
        return DataLoader[Any](
            views,
            batch_sampler=all_batches[done:],
            num_workers=recipe.workers,
            worker_init_fn=_ignore_interrupts,
            generator=torch.Generator(),  # the default would draw from the caller's generator
        )

    def _train_step(self, pixels: Float[Tensor, "b 3 h w"], labels: Int[Tensor, " b"]) -> float:
        """One optimizer step; returns the loss before it, averaged over all processes."""
        recipe, device = self.recipe, pixels.device
        purpose = (recipe.seed, "step", self.step, self.world.rank)
        targets = functional.one_hot(labels, self.model.config.classes).float()
        # A frozen backbone runs in eval mode, without patch dropout and mixing.
        self.parallel.train(not self.stage.frozen)
        if not self.stage.frozen:
            pixels, targets = mix(
                pixels, targets, recipe.mixup, recipe.cutmix, seeded_rng(*purpose)
            )
        self.optimiser.zero_grad()
        # Drop path and dropout use torch's global generator; do not change the caller's state.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(torch_seed(*purpose))
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16):
                logits = self.parallel(pixels)
        loss = functional.cross_entropy(
            logits.float(), targets, label_smoothing=recipe.label_smoothing
        )
        loss.backward()
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        nn.utils.clip_grad_norm_(trainable, recipe.gradient_clip)
        self.optimiser.step()
        if self.averaged:
            self.averaged.update_parameters(self.model)
        return self.world.total(loss.item()) / self.world.size

    def score(self) -> Score:
        """Evaluate the weights that would be saved on the held-out photos."""
        own = self.held_out[self.world.rank :: self.world.size]
        right, loss = summed_score(self.result, own, self.preprocessing, self.recipe)
        count = len(self.held_out)
        return Score(self.world.total(right) / count, self.world.total(loss) / count)


def summed_score(
    model: VisionTransformer,
    samples: Sequence[Sample],
    preprocessing: Preprocessing,
    recipe: Recipe,
) -> tuple[float, float]:
    """The number of correctly classified samples, and the sum of their losses, in float32.

    Raises CheckpointError if the logits are not finite.
    """
    was_training = model.training
    model.eval()
    device = model.pos_embed.device
    photos = Photos(samples, preprocessing)
    loader = DataLoader(
        photos,
        recipe.batch_size,
        num_workers=recipe.workers,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator(),
    )
    right, loss = 0.0, 0.0
    with torch.inference_mode():
        for pixels, labels in loader:
            logits, labels = model(pixels.to(device)), labels.to(device)
            if not logits.isfinite().all():
                raise CheckpointError(
                    "The logits of the held-out photos are infinite or NaN, so no score can be "
                    "measured; train again with a lower learning rate, or start from another "
                    "checkpoint."
                )
            right += (logits.argmax(dim=-1) == labels).sum().item()
            loss += functional.cross_entropy(logits, labels, reduction="sum").item()
    model.train(was_training)
    return right, loss


def _ignore_interrupts(_: int) -> None:
    """Ctrl-C reaches every process of the terminal; only the main process handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
