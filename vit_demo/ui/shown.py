"""The current result of one visitor."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from vit_demo.analysis import Analysis
from vit_demo.preprocess import Prepared

# Approximate memory of one prediction with its label.
PREDICTION_BYTES = 200


@dataclass(frozen=True, eq=False)
class Shown:
    """The first map, the latest map of every requested method, and the prepared photo."""

    main: Analysis
    prepared: Prepared
    maps: Mapping[str, Analysis]

    def with_map(self, analysis: Analysis) -> "Shown":
        """A copy with another map, which replaces the map of the same method."""
        # All maps of one photo share its predictions; separate copies would use much memory.
        light = replace(
            analysis,
            predictions=self.main.predictions,
            logits=self.main.logits,
        )
        return replace(self, maps={**self.maps, analysis.method: light})

    @cached_property
    def bytes(self) -> int:
        """Memory size; the analyses share their photo and their predictions."""
        pictures = (self.prepared.photo, self.prepared.picture)
        return (
            sum(3 * picture.width * picture.height for picture in pictures)
            + self.prepared.pixels.nbytes
            + sum(analysis.heatmap.nbytes for analysis in self.maps.values())
            + PREDICTION_BYTES * len(self.main.predictions)
        )
