"""What a finished run is worth: scored, calibrated and described in its own folder."""

from pathlib import Path

from vit_demo.checkpoints import load_folder
from vit_demo.checkpoints.calibration import Calibration, store_calibration
from vit_demo.training.card import save_card
from vit_demo.training.data import read_split
from vit_demo.training.evaluate import Evaluation, Report, evaluate
from vit_demo.training.plan import Plan
from vit_demo.training.selection import Chosen


def finish(plan: Plan, out: Path, report: Report | None = None) -> Evaluation:
    """Score the checkpoint that a run left in `out` on the photos it held out.

    A temperature is stored where these photos settle one that holds for others too, and the model
    card is written. The weights are those on the disk, in half precision, read as everybody will
    read them.
    """
    data = Path(plan.data)
    split = read_split(data, plan.held_out, plan.recipe.seed, plan.leave_out, plan.fold)
    chosen = Chosen(data, split.held_out, unknown={}, held_out=True)
    scores = evaluate(load_folder(out), chosen, report)
    if scores.temperature is not None and scores.temperature_helps:
        store_calibration(out, Calibration(scores.temperature, scores.unsure_below))
    save_card(scores, out)
    return scores
