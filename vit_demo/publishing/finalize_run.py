"""What a finished run is worth: scored, calibrated and described in its own folder."""

from pathlib import Path

from vit_demo.checkpoints import load_folder
from vit_demo.checkpoints.calibration import Calibration, store_calibration
from vit_demo.evaluation.eval_set import choose, held_out_photos
from vit_demo.evaluation.evaluate import Evaluation, Report, evaluate
from vit_demo.publishing.model_card import save_card
from vit_demo.training.plan import Plan


def finalize_run(plan: Plan, out: Path, report: Report | None = None) -> Evaluation:
    """Score the checkpoint that a run left in `out` on the photos it held out, by its own list.

    A temperature is stored where these photos settle one that holds for others too, and the model
    card is written. The weights are those on the disk, in half precision, read as everybody will
    read them.
    """
    checkpoint = load_folder(out)
    chosen = choose(Path(plan.data), checkpoint.labels, held_out_photos(out), held_out=True)
    scores = evaluate(checkpoint, chosen, report)
    if scores.temperature is not None and scores.temperature_helps:
        store_calibration(out, Calibration(scores.temperature, scores.unsure_below))
    save_card(scores, out)
    return scores
