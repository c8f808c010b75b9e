"""Evaluate, calibrate and describe the checkpoint of a finished run."""

from pathlib import Path

from vit_demo.checkpoints import load_folder
from vit_demo.checkpoints.calibration import Calibration, store_calibration
from vit_demo.evaluation.eval_set import choose, held_out_photos
from vit_demo.evaluation.evaluate import Evaluation, Report, evaluate
from vit_demo.publishing.model_card import save_card
from vit_demo.training.plan import Plan


def finalize_run(plan: Plan, out: Path, report: Report | None = None) -> Evaluation:
    """Evaluate the checkpoint of a run in `out` on its held-out photos, and write the model card.

    A fitted temperature is stored if it improves the loss in cross-fitting. The evaluated weights
    are the saved ones in float16, loaded like any other checkpoint.
    """
    checkpoint = load_folder(out)
    chosen = choose(Path(plan.data), checkpoint.labels, held_out_photos(out), held_out=True)
    scores = evaluate(checkpoint, chosen, report)
    if scores.temperature is not None and scores.temperature_helps:
        store_calibration(out, Calibration(scores.temperature, scores.unsure_below))
    save_card(scores, out)
    return scores
