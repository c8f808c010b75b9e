"""What one visitor is looking at."""

from dataclasses import dataclass
from functools import cached_property

from vit_demo.analysis import Analysis
from vit_demo.preprocess import Prepared

# A rough size of one prediction with its label, as Python keeps it.
PREDICTION_BYTES = 200


@dataclass(frozen=True, eq=False)
class Shown:
    """The map, the raw attention of every layer, and what another map can be made from.

    `target` and `versus` are the class indices that the visitor chose, None for the likeliest
    class and for no comparison.
    """

    main: Analysis
    layers: tuple[Analysis, ...]
    prepared: Prepared
    target: int | None = None
    versus: int | None = None

    @cached_property
    def bytes(self) -> int:
        """What it takes up in memory; the analyses share their photo and their predictions."""
        pictures = (self.prepared.photo, self.prepared.picture)
        maps = (self.main, *self.layers)
        return (
            sum(3 * picture.width * picture.height for picture in pictures)
            + self.prepared.pixels.nbytes
            + sum(analysis.heatmap.nbytes for analysis in maps)
            + PREDICTION_BYTES * len(self.main.predictions)
        )
