"""Is the map telling the truth? Deletion, insertion, SaCo and randomisation, beside noise."""

from vit_demo.faithfulness.case import Case
from vit_demo.faithfulness.curves import Curve
from vit_demo.faithfulness.marks import CONTROL, FIGURES, STEPS, Marks, Trust, mark, trust
from vit_demo.faithfulness.randomise import Likeness, cascade, parts_of
from vit_demo.faithfulness.study import Mean, Study, compared, study

__all__ = [
    "CONTROL",
    "FIGURES",
    "STEPS",
    "Case",
    "Curve",
    "Likeness",
    "Marks",
    "Mean",
    "Study",
    "Trust",
    "cascade",
    "compared",
    "mark",
    "parts_of",
    "study",
    "trust",
]
