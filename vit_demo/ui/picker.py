"""Picking a checkpoint: the list, free text, a search of the Hub, and what the choice can do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from vit_demo.checkpoints import CheckpointSummary
from vit_demo.errors import DemoError
from vit_demo.explanations.capability import Capability, capabilities
from vit_demo.ui.checkpoint_policy import CheckpointPolicy
from vit_demo.ui.search import LONGEST_REF, ON_CLICK, Answer, Searches, find, picked
from vit_demo.ui.shown import Shown

MOST_RECENT = 5

# Where the visitor's own browser keeps what was used recently. Nothing in it is secret: with a key
# of its own for every start of the app, it would be forgotten at each.
STORAGE = "vit-demo-recent"

SEVERAL_SEARCH = 4

PICKLED = "Its weights are pickled, and this page was started without --allow-pickle."
NOT_HERE = "Which maps it allows is not known before it is fetched; Run does that."


@dataclass(frozen=True)
class Picker:
    """The picker of one page, laid out, and what it does when a visitor comes and has run."""

    policy: CheckpointPolicy
    checkpoint: gr.Dropdown
    can: gr.HTML
    recent: gr.BrowserState
    search: tuple[gr.Textbox, gr.HTML] | None

    def lay_out_details(self) -> None:
        """Put what the choice can do, and the search for others, here."""
        with gr.Group(elem_id="picker"):
            self.can.render()
            for part in self.search or ():
                part.render()

    def opened(self, recent: Any, picked: str | None) -> tuple[gr.Dropdown, str]:
        """The list for a visitor who comes (back), and what the present choice can do."""
        choices = self.policy.choices(read_recent(recent))
        return gr.Dropdown(choices=choices), ability(self.policy, picked)

    def used(
        self, recent: Any, shown: Shown, picked: str | None
    ) -> tuple[list[str], gr.Dropdown, str]:
        """After a run: remember the checkpoint; what was fetched now works offline.

        Meanwhile another may have been picked, and the line is about that one.
        """
        newest = remember(recent, shown.main.checkpoint.ref)
        choices = self.policy.choices(newest)
        return newest, gr.Dropdown(choices=choices), ability(self.policy, picked)


def build_picker(page: gr.Blocks, policy: CheckpointPolicy) -> Picker:
    """Lay the list out; its details come where the page wants them.

    What is in the cache is looked up when a visitor comes.
    """
    recent = gr.BrowserState([], storage_key=STORAGE, secret=STORAGE)
    checkpoint = gr.Dropdown(
        choices=[(policy.default, policy.default)],
        value=policy.default,
        allow_custom_value=policy.any_checkpoint,
        label="Checkpoint",
        info=_info(policy),
        elem_id="checkpoint",
    )
    can = gr.HTML(elem_id="can", render=False)
    search = _search_box(page, checkpoint, policy) if policy.any_checkpoint else None
    picker = Picker(policy, checkpoint, can, recent, search)
    page.load(
        picker.opened,
        [recent, checkpoint],
        [checkpoint, can],
        show_progress="hidden",
        api_visibility="private",
    )
    checkpoint.change(
        lambda ref: ability(policy, ref),
        checkpoint,
        can,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
    return picker


def _info(policy: CheckpointPolicy) -> str:
    if not policy.any_checkpoint:
        return "The list says which of them work offline."
    folder = " or a folder" if policy.own_machine else ""
    return f"Or type a Hub id{folder}. The list says what works offline."


def _search_box(
    page: gr.Blocks, checkpoint: gr.Dropdown, policy: CheckpointPolicy
) -> tuple[gr.Textbox, gr.HTML]:
    """The search of the Hub, wired but not laid out: the words, and what was found."""
    searches = gr.State()
    query = gr.Textbox(
        show_label=False,
        container=False,
        placeholder="Find one on the Hub, e.g. orchids",
        max_lines=1,
        elem_id="search",
        render=False,
    )
    results = gr.HTML(elem_id="found", js_on_load=ON_CLICK, render=False)
    page.load(Searches, None, searches, show_progress="hidden", api_visibility="private")

    def look_for(text: str, own: Searches | None) -> Iterator[Answer]:
        yield from find(text, own, policy.offline)

    query.submit(
        look_for,
        [query, searches],
        results,
        show_progress="hidden",
        trigger_mode="multiple",
        concurrency_id="search",
        concurrency_limit=SEVERAL_SEARCH,
        api_visibility="private",
    )
    results.pick(picked, None, checkpoint, show_progress="hidden", api_visibility="private")
    return query, results


def ability(policy: CheckpointPolicy, ref: str | None) -> str:
    """What a checkpoint can be asked for, or why it cannot be had, as soon as it is picked."""
    try:
        summary = policy.summary((ref or "").strip())
    except DemoError as error:
        return f'<p class="about">{escape(str(error))}</p>'
    if policy.needs_pickle((ref or "").strip()):
        return f'<p class="about">{PICKLED}</p>'
    if summary is None:
        return f'<p class="about">{NOT_HERE}</p>'
    return (
        f'<p class="about"><b>{escape(_what(summary))}</b><br>'
        f"{escape(maps(summary.family, capabilities(summary.model)))}</p>"
    )


def maps(family: str, able: Sequence[Capability]) -> str:
    """The methods that fit, which of them answer for one class, and how exact they are."""
    able = [one for one in able if one.unsupported_reason is None]
    alike = [one.method.name for one in able if not one.method.class_specific]
    specific = [one.method.name for one in able if one.method.class_specific]
    parts = [f"Maps for one class: {', '.join(specific)}."] if specific else []
    if alike:
        parts.append(f"Maps that are the same for every class: {', '.join(alike)}.")
    rough = [one.method.name for one in able if not one.exact]
    if not rough:
        parts.append(f"Exact for {family}.")
    elif len(rough) == len(able):
        parts.append(f"Approximate for {family}.")
    else:
        parts.append(f"Approximate for {family}: {', '.join(rough)}.")
    return " ".join(parts)


def _what(summary: CheckpointSummary) -> str:
    classes = "" if summary.classes is None else f" · {summary.classes} classes"
    return f"{summary.family}{classes} · {summary.place}"


def remember(recent: Any, ref: str) -> list[str]:
    """What was used recently, the newest first."""
    return list(dict.fromkeys([ref, *read_recent(recent)]))[:MOST_RECENT]


def read_recent(value: Any) -> list[str]:
    """What a browser says was used recently; it may say anything."""
    given = value if isinstance(value, list) else []
    usable = [ref for ref in given if isinstance(ref, str) and 0 < len(ref) <= LONGEST_REF]
    return usable[:MOST_RECENT]
