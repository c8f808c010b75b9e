"""What one visitor is looking at."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from vit_demo.analysis import Analysis
from vit_demo.preprocess import Prepared

# A rough size of one prediction with its label, as Python keeps it.
PREDICTION_BYTES = 200


@dataclass(frozen=True, eq=False)
class Shown:
    """The first map, the latest map of every method asked for, and what others are made from."""

    main: Analysis
    prepared: Prepared
    maps: Mapping[str, Analysis]

    def with_map(self, analysis: Analysis) -> "Shown":
        """The same with another map, in place of the one by the same method."""
        # All maps of one photo share its predictions; a thousand classes, many times, would weigh.
        light = replace(
            analysis,
            predictions=self.main.predictions,
            logits=self.main.logits,
        )
        return replace(self, maps={**self.maps, analysis.method: light})

    @cached_property
    def bytes(self) -> int:
        """What it takes up in memory; the analyses share their photo and their predictions."""
        pictures = (self.prepared.photo, self.prepared.picture)
        return (
            sum(3 * picture.width * picture.height for picture in pictures)
            + self.prepared.pixels.nbytes
            + sum(analysis.heatmap.nbytes for analysis in self.maps.values())
            + PREDICTION_BYTES * len(self.main.predictions)
        )
