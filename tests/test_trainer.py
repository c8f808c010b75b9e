"""Fine-tuning on a tiny problem: convergence, stages, resuming, several processes."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from vit_demo.data.augmentation import Augmentation
from vit_demo.data.dataset import split
from vit_demo.data.folder import scan
from vit_demo.errors import CheckpointError, DataError
from vit_demo.models.vit import VisionTransformer
from vit_demo.preprocess import Preprocessing
from vit_demo.training.distributed import DistributedContext
from vit_demo.training.recipe import Recipe
from vit_demo.training.trainer import Trainer, summed_score

PREPROCESSING = Preprocessing(resize=(32, 32))
STILL = Augmentation(area=(1.0, 1.0), aspect=(4 / 3, 4 / 3), brightness=0.0, saturation=0.0)
QUICK = Recipe(
    head_epochs=0, epochs=2, batch_size=8, learning_rate=3e-3, warm_up_steps=4, workers=0,
    bfloat16=False, ema_decay=0.0, drop_path=0.0, patch_dropout=0.0, mixup=0.0, cutmix=0.0,
)  # fmt: skip
# All that draws at random or carries something along from step to step.
FULL = replace(
    QUICK, head_epochs=1, epochs=2, ema_decay=0.9, mixup=0.4, cutmix=0.4, bfloat16=True,
    augmentation=Augmentation(num_ops=1, erase=0.5),
)  # fmt: skip


@pytest.fixture
def colours(tmp_path):
    """Sixteen reddish and sixteen bluish photos: 24 for training, three batches of eight."""
    for label, colour in (("blue", (40, 60, 200)), ("red", (200, 60, 40))):
        (tmp_path / label).mkdir()
        for number in range(16):
            shade = tuple(part + number for part in colour)
            Image.new("RGB", (40, 30), shade).save(tmp_path / label / f"{number:02}.png")
    return split(scan(tmp_path), held_out=0.25, seed=0)


@pytest.fixture
def fresh(tiny_config):
    """Make the same fresh two-class model every time."""

    def make(**changes):
        torch.manual_seed(1)
        return VisionTransformer(replace(tiny_config, classes=2, depth=2, **changes))

    return make


@pytest.fixture
def trainer(colours, fresh):
    """A trainer before its first step."""

    def make(recipe=QUICK, model=None, photos=colours, world=None):
        return Trainer(model or fresh(), *photos, PREPROCESSING, recipe, world)

    return make


def flat(model):
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def accuracy(model, samples):
    right, _ = summed_score(model, samples, PREPROCESSING, QUICK)
    return right / len(samples)


def test_two_epochs_separate_red_from_blue(trainer, colours, fresh):
    everything = colours[0] + colours[1]
    assert accuracy(fresh(), everything) < 1
    training = trainer()
    assert list(training)[-1].score.accuracy == 1
    assert accuracy(training.result, everything) == 1


def test_every_step_is_reported_and_every_epoch_has_a_score(trainer):
    steps = list(trainer())
    assert [(s.step, s.epoch, s.stage) for s in steps] == [
        (1, 1, "all"), (2, 1, "all"), (3, 1, "all"), (4, 2, "all"), (5, 2, "all"), (6, 2, "all"),
    ]  # fmt: skip
    assert [s.step for s in steps if s.score] == [3, 6]
    assert {s.steps for s in steps} == {6}
    assert steps[5].loss < steps[2].loss


def test_an_epochs_loss_is_the_mean_of_its_steps(trainer, monkeypatch):
    losses = iter([1.0, 2.0, 6.0, 3.0, 3.0, 3.0])
    monkeypatch.setattr(Trainer, "_train_step", lambda *_: next(losses))
    assert [step.loss for step in trainer()] == [1.0, 2.0, 3.0, 3.0, 3.0, 3.0]


def test_first_only_the_head_is_trained_and_then_everything(trainer):
    training = trainer(replace(QUICK, head_epochs=1, epochs=1))
    before = {name: value.clone() for name, value in training.model.state_dict().items()}

    def moved():
        now = training.model.state_dict()
        return {name for name in now if not torch.equal(now[name], before[name])}

    steps = iter(training)
    stages = [next(steps).stage for _ in range(3)]
    assert moved() == {"head.weight", "head.bias"}
    stages += [step.stage for step in steps]
    assert stages == ["head"] * 3 + ["all"] * 3
    assert len(moved()) > len(before) / 2
    assert all(parameter.requires_grad for parameter in training.model.parameters())


@pytest.mark.parametrize("workers", [0, 1])
def test_the_same_seed_gives_the_same_weights(trainer, workers):
    recipe = replace(FULL, workers=workers, drop_path=0.3, patch_dropout=0.3)
    ends = []
    for run, seed in enumerate((0, 0, 1)):
        torch.manual_seed(100 + run)  # whatever was drawn before must not matter
        training = trainer(replace(recipe, seed=seed))
        list(training)
        ends.append(flat(training.result))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_training_does_not_change_the_callers_random_state(trainer):
    training = trainer(FULL)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(training)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("broken_off", range(1, 9))
def test_a_resumed_run_gives_the_same_weights_as_an_uninterrupted_one(trainer, fresh, broken_off):
    """Nine steps, of which three train the head; interrupted after each of them."""
    model = {"drop_path": 0.3, "patch_dropout": 0.3, "dropout": 0.1}
    whole = trainer(FULL, fresh(**model))
    reports = list(whole)
    first = trainer(FULL, fresh(**model))
    for step in first:
        if step.step == broken_off:
            break
    second = trainer(FULL, fresh(**model))
    second.restore(first.state())
    assert list(second) == reports[broken_off:]
    assert torch.equal(flat(second.result), flat(whole.result))
    assert torch.equal(flat(second.model), flat(whole.model))


def test_the_moving_average_is_evaluated_and_saved(trainer):
    training = trainer(replace(QUICK, ema_decay=0.9))
    seen = [flat(training.model)]
    mean = seen[0]
    for number, step in enumerate(training):
        kept = min(0.9, (1 + number) / (10 + number)) if number else 0.0
        mean = kept * mean + (1 - kept) * flat(training.model)
        torch.testing.assert_close(flat(training.result), mean)
        if step.score:
            right, loss = summed_score(training.result, training.held_out, PREPROCESSING, QUICK)
            count = len(training.held_out)
            assert (step.score.accuracy, step.score.loss) == (right / count, loss / count)


def test_without_a_moving_average_the_weights_are_saved(trainer):
    training = trainer(replace(QUICK, ema_decay=0.0))
    list(training)
    assert training.result is training.model


def test_fewer_photos_than_a_batch_still_train(trainer):
    assert list(trainer(replace(QUICK, epochs=1, batch_size=64)))[-1].step == 1


def test_an_incomplete_batch_is_dropped(trainer):
    assert list(trainer(replace(QUICK, epochs=1, batch_size=10)))[-1].steps == 2


def test_a_frozen_backbone_runs_in_eval_mode(trainer, fresh):
    """While only the head is trained, there is no dropout and no mixing; afterwards there is."""
    plain, left_out, attn_output = (
        list(trainer(replace(QUICK, head_epochs=1, **recipe), fresh(**model)))
        for recipe, model in (
            ({}, {}),
            ({}, {"drop_path": 0.5, "patch_dropout": 0.5}),
            ({"mixup": 0.4, "cutmix": 0.4}, {}),
        )
    )

    def losses(steps, stage):
        return [step.loss for step in steps if step.stage == stage]

    for steps in (left_out, attn_output):
        assert losses(steps, "head") == losses(plain, "head") != []
        assert losses(steps, "all") != losses(plain, "all")


def test_dropout_acts_while_training_and_not_while_scoring(trainer, monkeypatch):
    training = trainer(replace(QUICK, batch_size=24))
    modes = []
    forward = training.model.forward
    spy = lambda x: (modes.append(training.model.training), forward(x))[1]  # noqa: E731
    monkeypatch.setattr(training.model, "forward", spy)
    list(training)
    assert modes == [True, False, True, False]


def test_every_step_starts_from_a_clean_gradient_and_clips_it(trainer, colours, monkeypatch):
    """The optimizer gets the gradient of its own batch, with a norm of at most one."""
    norms = []
    step = torch.optim.AdamW.step

    def spy(self, *args, **kwargs):
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(torch.cat([gradient.flatten() for gradient in gradients]).norm().item())
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    list(trainer(replace(QUICK, gradient_clip=0.01)))
    assert max(norms) <= 0.01 + 1e-6
    assert len(norms) == 6
    still = replace(QUICK, learning_rate=1e-12, gradient_clip=1e9, augmentation=STILL)
    norms.clear()
    list(trainer(replace(still, epochs=3), photos=(colours[0][:1], colours[1])))
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-3)


def test_the_learning_rate_follows_the_schedule_of_each_stage(trainer):
    """Six steps, of which two warm up and four fall as a cosine; three, of which one does."""
    top = QUICK.learning_rate * QUICK.head_factor
    half = math.sqrt(0.5)
    falling = [top * f for f in (0.5, 1.0, 1.0, (1 + half) / 2, 0.5, (1 - half) / 2)]
    assert [step.rate for step in trainer()] == pytest.approx(falling)
    staged = [step.rate for step in trainer(replace(QUICK, head_epochs=1))]
    own = QUICK.head_learning_rate
    assert staged == pytest.approx([own, own, own / 2, *falling])
    brief = [step.rate for step in trainer(replace(QUICK, warm_up_steps=1))]
    assert brief[0] == top


def test_the_loss_is_smoothed_as_the_recipe_says(trainer, fresh, colours):
    """A head of zeros has the loss ln 2 either way; smoothing increases a confident head's loss."""
    one_red = ([sample for sample in colours[0] if sample[1] == 1][:1], colours[1])
    losses = []
    for smoothing in (0.0, 0.1):
        model = fresh()
        with torch.no_grad():
            model.head.weight.zero_()
            model.head.bias.copy_(torch.tensor([0.0, 10.0]))
        recipe = replace(QUICK, epochs=1, label_smoothing=smoothing)
        losses.append(next(iter(trainer(recipe, model, one_red))).loss)
    sure, unsure = math.log1p(math.exp(-10)), 10 + math.log1p(math.exp(-10))
    assert losses == pytest.approx([sure, 0.95 * sure + 0.05 * unsure], abs=1e-5)


def test_bfloat16_training_works_and_keeps_float32_weights(trainer):
    training = trainer(replace(QUICK, bfloat16=True))
    assert list(training)[-1].score.accuracy == 1
    assert {parameter.dtype for parameter in training.model.parameters()} == {torch.float32}


def test_the_score_is_the_accuracy_and_the_mean_loss(fresh, colours):
    """A head that always predicts class 1 is correct on exactly the photos of class 1."""
    _, held_out = colours
    model = fresh()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.0, 1.0]))
    uneven = [*held_out[:1], *(sample for sample in held_out if sample[1] == 1)]
    assert held_out[0][1] == 0
    right, loss = summed_score(model, uneven, PREPROCESSING, QUICK)
    assert right == len(uneven) - 1
    logits = torch.tensor([[0.0, 1.0]]).expand(len(uneven), 2)
    labels = torch.tensor([label for _, label in uneven])
    expected = functional.cross_entropy(logits, labels, reduction="sum").item()
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_logits_are_refused(fresh, colours, value):
    model = fresh()
    with torch.no_grad():
        model.head.bias.fill_(value)
    with pytest.raises(CheckpointError, match="train again with a lower learning rate"):
        summed_score(model, colours[1], PREPROCESSING, QUICK)


def test_held_out_photos_are_never_augmented(trainer, colours, monkeypatch):
    """Training photos go through the recipe's augmentation, held-out photos do not."""
    seen = []
    plain = Augmentation.__call__

    def spy(self, photo, preprocessing, seeded_rng):
        seen.append(self)
        return plain(self, photo, preprocessing, seeded_rng)

    monkeypatch.setattr(Augmentation, "__call__", spy)
    mine = Augmentation(area=(0.5, 0.6))
    list(trainer(replace(QUICK, epochs=1, augmentation=mine)))
    assert seen == [mine] * len(colours[0])


def test_a_batch_that_cannot_be_divided_is_refused(trainer):
    with pytest.raises(DataError, match="batch of 8 cannot be divided evenly among 3 processes"):
        trainer(world=DistributedContext(rank=0, size=3))


TOGETHER = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from pathlib import Path
import torch
from test_trainer import PREPROCESSING, QUICK, FULL
from dataclasses import replace
from vit_demo.models.vit import VisionTransformer, ViTConfig
from vit_demo.data.dataset import split
from vit_demo.data.folder import scan
from vit_demo.training.trainer import Trainer
from vit_demo.training.distributed import joined
torch.manual_seed(1)
model = VisionTransformer(ViTConfig(
    2, width=24, depth=2, heads=3, mlp_width=40, patch_size=8, image_size=(32, 32)))
photos = split(scan(Path({photos!r})), held_out=0.25, seed=0)
def learn(world):
    assert world.size == {size}
    recipe = replace(QUICK, head_epochs=1, ema_decay=0.9)
    trainer = Trainer(model, *photos, PREPROCESSING, recipe, world)
    steps = list(trainer)
    if world.is_main:
        torch.save([trainer.result.state_dict(), [s.loss for s in steps], steps[-1].score.loss],
            {out!r})
with joined() as world:
    learn(world)  # what holds the group has gone when the group is taken apart
"""


@pytest.mark.slow
def test_two_processes_give_the_same_weights_as_one(colours, tmp_path):
    """The genuine torchrun, two processes on the CPU (gloo), each with half of every batch."""
    tests = Path(__file__).parent
    results = []
    for size, launcher in ((1, []), (2, ["-m", "torch.distributed.run", "--standalone",
                                         "--nproc-per-node", "2"])):  # fmt: skip
        out, script = tmp_path / f"{size}.pt", tmp_path / f"{size}.py"
        script.write_text(
            TOGETHER.format(
                tests=str(tests), root=str(tests.parent), photos=str(tmp_path), size=size,
                out=str(out),
            )
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, *launcher, str(script)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        results.append(torch.load(out, weights_only=True))
    (alone, losses, score), (together, losses_together, score_together) = results
    assert losses_together == pytest.approx(losses, rel=1e-4)
    assert score_together == pytest.approx(score, rel=1e-4)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-3, atol=1e-4)
