"""Putting the map to the test: a button, and the figures beside those of noise."""

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from jaxtyping import Float
from torch import Tensor

from vit_demo import captions
from vit_demo.faithfulness import Curve
from vit_demo.ui.handlers import Handlers, ScoredMap
from vit_demo.ui.shown import Shown

# The charts' inner size; the page stretches them.
WIDTH, HEIGHT = 120, 72


@dataclass(frozen=True)
class FaithfulnessPanel:
    """The button, and what it fills."""

    button: gr.Button
    figures: gr.HTML

    def reset(self) -> dict[Any, Any]:
        """Another map is shown, which nobody has put to the test."""
        return {self.figures: ""}

    def wire(self, handlers: Handlers, token: gr.State) -> None:
        """Judge the map in sight; a result for a map that has been replaced is dropped."""

        def score_map(token: str | None) -> str | dict[str, Any]:
            return answer(handlers.score_map(token), handlers.results.get(token))

        self.button.click(
            score_map,
            token,
            self.figures,
            show_progress="full",
            show_progress_on=self.figures,
            trigger_mode="once",
            api_visibility="private",
        )


def build_faithfulness_panel() -> FaithfulnessPanel:
    """Lay it out."""
    button = gr.Button("Is this map true? Put it to the test", size="sm", elem_id="test")
    return FaithfulnessPanel(button, gr.HTML(elem_id="trust"))


def answer(scored: ScoredMap, current: Shown) -> str | dict[str, Any]:
    """The figures, if the map that was judged is still in sight."""
    return figures(scored) if scored.analysis is current.main else gr.skip()


def figures(scored: ScoredMap) -> str:
    """What was measured, as small charts that follow the page's theme."""
    trust = scored.trust
    drawn = (
        _curves(trust.scores.deletion, trust.control.deletion),
        _curves(trust.scores.insertion, trust.control.insertion),
        _line(trust.scores.saco, trust.control.saco),
    )
    rows = "".join(
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(figure.words)}">{chart}</svg>'
        f"<figcaption><b>{figure.name} {figure.mine} {'✓' if figure.better else '✗'}</b>"
        f"<br>noise {figure.noise}<br>{figure.hint}</figcaption></figure>"
        for figure, chart in zip(captions.evidence(trust), drawn, strict=True)
    )
    protocol = captions.protocol(trust, scored.analysis)
    return (
        f'<div class="trust"><p class="verdict">{escape(captions.verdict(trust))}</p>'
        f'<div class="charts">{rows}</div><p>{escape(protocol)}</p></div>'
    )


def _curves(mine: Curve, noise: Curve) -> str:
    return (
        f'<path class="axis" d="M0 0V{HEIGHT}H{WIDTH}"/>'
        f'<polyline class="noise" points="{_points(noise.shares, noise.probabilities)}"/>'
        f'<polyline class="map" points="{_points(mine.shares, mine.probabilities)}"/>'
    )


def _points(shares: Float[Tensor, " points"], values: Float[Tensor, " points"]) -> str:
    """From the corner at the lower left: shares to the right, probabilities upwards."""
    pairs = zip(shares.tolist(), values.tolist(), strict=True)
    return " ".join(f"{WIDTH * x:.1f},{HEIGHT * (1 - y):.1f}" for x, y in pairs)


def _line(mine: float, noise: float) -> str:
    """Two values between −1 and 1, on a line with its zero."""
    middle = HEIGHT / 2
    at = [f"{WIDTH * (1 + value) / 2:.1f}" for value in (noise, mine)]
    return (
        f'<path class="axis" d="M0 {middle}H{WIDTH}M{WIDTH / 2} {middle - 8}V{middle + 8}"/>'
        f'<circle class="noise" cx="{at[0]}" cy="{middle}" r="5"/>'
        f'<circle class="map" cx="{at[1]}" cy="{middle}" r="5"/>'
    )
