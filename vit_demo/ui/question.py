"""Asking for another map: by which method, for which class, and against which other one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vit_demo.explanations import METHODS
from vit_demo.explanations.capability import capabilities
from vit_demo.ui.handlers import FIRST_MAP, Shown

# Likeliest classes that are offered; a list of thousands helps nobody, and the terminal has all.
MOST_CLASSES = 50

NOBODY = ("–", "")


@dataclass(frozen=True)
class Question:
    """The three controls over the map."""

    method: gr.Dropdown
    target: gr.Dropdown
    versus: gr.Dropdown
    classes: gr.Row

    @property
    def inputs(self) -> list[gr.Dropdown]:
        """What is asked, in the order of `Handlers.ask`."""
        return [self.method, self.target, self.versus]

    def reset(self, shown: Shown) -> dict[Any, Any]:
        """After a run: the methods that fit, the classes by likelihood, and the first map."""
        main = shown.main
        fitting = [able.method.name for able in capabilities(main.checkpoint.model)
                   if able.why_not is None]  # fmt: skip
        labels = [(p.label, str(p.index)) for p in main.predictions[:MOST_CLASSES]]
        return {
            self.method: gr.Dropdown(choices=fitting, value=main.method),
            self.target: gr.Dropdown(choices=labels, value=labels[0][1]),
            self.versus: gr.Dropdown(choices=[NOBODY, *labels], value=NOBODY[1]),
            self.classes: classes_for(main.method),
        }

    def wire(
        self, ask: Callable[..., Shown], state: gr.State, answer: gr.State, picture: gr.Image
    ) -> Any:
        """Ask again whenever one of the three changes; `picture` shows that it is under way."""
        self.method.input(
            classes_for, self.method, self.classes, show_progress="hidden",
            api_visibility="private",
        )  # fmt: skip
        return gr.on(
            [control.input for control in self.inputs],
            ask,
            [state, *self.inputs],
            answer,
            show_progress="minimal",
            show_progress_on=picture,
            trigger_mode="always_last",
            api_visibility="private",
        )


def build_question() -> Question:
    """Lay the controls out."""
    method = gr.Dropdown(
        choices=list(METHODS), value=FIRST_MAP, label="Map", elem_id="method", min_width=120
    )
    with gr.Row(visible=False) as classes:
        target = gr.Dropdown(choices=[], label="Why", elem_id="target", min_width=120)
        versus = gr.Dropdown(
            choices=[NOBODY], value=NOBODY[1], label="and not", elem_id="versus", min_width=120
        )
    return Question(method, target, versus, classes)


def classes_for(method: str | None) -> gr.Row:
    """The classes are asked for where the map depends on them."""
    known = METHODS.get(method or "")
    return gr.Row(visible=known is not None and known.class_specific)
