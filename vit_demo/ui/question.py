"""Asking for another map: by which method, for which class, and compared with which other one."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from vit_demo.explanations import DEFAULT_METHOD, METHODS
from vit_demo.explanations.capability import Capability, capabilities
from vit_demo.ui.shown import Shown

# Likeliest classes that are offered; a list of thousands helps nobody, and the terminal has all.
MOST_CLASSES = 50

TOP_CLASS, NO_CLASS = "", ""


@dataclass(frozen=True)
class QuestionControls:
    """The three controls over the map."""

    method: gr.Dropdown
    target: gr.Dropdown
    versus: gr.Dropdown
    classes: gr.Row

    @property
    def inputs(self) -> list[gr.Dropdown]:
        """Method, class to explain, class to compare with: the order of `Question.read`."""
        return [self.method, self.target, self.versus]

    @property
    def outputs(self) -> list[Any]:
        """Everything that `update` sets."""
        return [*self.inputs, self.classes]

    def update(self, shown: Shown) -> dict[Any, Any]:
        """The methods that fit, the classes by probability, and what the map in sight answers."""
        main = shown.main
        fitting = [
            (_with_cost(able, main.grid), able.method.name)
            for able in capabilities(main.checkpoint.model)
            if able.unsupported_reason is None
        ]
        best = main.predictions[0]
        classes = [(p.label, str(p.index)) for p in main.predictions[:MOST_CLASSES]]
        explained = str(best.index if shown.target is None else shown.target)
        others = [choice for choice in classes if choice[1] != explained]
        return {
            self.method: gr.Dropdown(choices=fitting, value=main.method),
            self.target: gr.Dropdown(
                choices=[(f"Top prediction: {best.label}", TOP_CLASS), *classes],
                value=TOP_CLASS if shown.target is None else str(shown.target),
            ),
            self.versus: gr.Dropdown(
                choices=[("–", NO_CLASS), *others],
                value=NO_CLASS if shown.versus is None else str(shown.versus),
            ),
            self.classes: gr.Row(visible=METHODS[main.method].class_specific),
        }


def _with_cost(able: Capability, grid: tuple[int, int]) -> str:
    """A method's name, and how often it runs the model where that is often."""
    passes = able.method.passes
    return able.method.name + (f" ({passes(grid, able.options)} model passes)" if passes else "")


def build_question() -> QuestionControls:
    """Lay the controls out."""
    method = gr.Dropdown(
        choices=list(METHODS), value=DEFAULT_METHOD, label="Map", elem_id="method", min_width=120
    )
    with gr.Row(visible=False) as classes:
        target = gr.Dropdown(
            choices=[("Top prediction", TOP_CLASS)],
            value=TOP_CLASS,
            label="Explain class",
            elem_id="target",
            min_width=120,
        )
        versus = gr.Dropdown(
            choices=[("–", NO_CLASS)],
            value=NO_CLASS,
            label="Compared with",
            elem_id="versus",
            min_width=120,
        )
    return QuestionControls(method, target, versus, classes)
