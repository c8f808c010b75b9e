"""Picking a checkpoint: the list, free text, a search of the Hub, and what the choice can do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from vit_demo.checkpoints import CheckpointSummary
from vit_demo.checkpoints.summary import Place
from vit_demo.errors import DemoError
from vit_demo.explanations.capability import Capability, capabilities
from vit_demo.ui.checkpoint_policy import CheckpointPolicy
from vit_demo.ui.explorer.words import DEFAULT_LANGUAGE
from vit_demo.ui.languages import error_html, in_every_language, say, sentence
from vit_demo.ui.search import LONGEST_REF, ON_CLICK, Answer, Searches, find, picked
from vit_demo.ui.shown import Shown

MOST_RECENT = 5

# Where the visitor's own browser keeps what was used recently. Nothing in it is secret: with a key
# of its own for every start of the app, it would be forgotten at each.
STORAGE = "vit-demo-recent"

SEVERAL_SEARCH = 4

# Where a checkpoint lies, as the tables say it.
PLACES: Mapping[Place, str] = {
    "bundled": "page.place.bundled",
    "on this machine": "page.place.folder",
    "in the cache": "page.place.cache",
}


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

    @property
    def parts(self) -> tuple[Any, ...]:
        """The components whose text depends on the language."""
        return (self.checkpoint, self.can, *(self.search or ())[:1])

    def read_ref(self, ref: Any) -> str | None:
        """A checkpoint that a link names, where it is on offer here; a link may hold anything."""
        usable = isinstance(ref, str) and 0 < len(ref) <= LONGEST_REF
        return ref if usable and self.policy.admits(ref) else None

    def spoken(
        self, recent: Any, picked: str | None, language: str, wanted: str | None = None
    ) -> dict[Any, Any]:
        """All of them in a language, with the checkpoint that is `wanted` instead of the picked."""
        search = gr.update(
            placeholder=say(language, "page.search"), label=say(language, "page.search")
        )
        return {
            self.checkpoint: self._list(recent, language, wanted),
            self.can: ability(self.policy, wanted or picked),
            **dict.fromkeys((self.search or ())[:1], search),
        }

    def opened(
        self, recent: Any, picked: str | None, language: str = DEFAULT_LANGUAGE
    ) -> tuple[gr.Dropdown, str]:
        """The list for a visitor who comes (back), and what the present choice can do."""
        return self._list(recent, language), ability(self.policy, picked)

    def used(
        self, recent: Any, shown: Shown, picked: str | None, language: str = DEFAULT_LANGUAGE
    ) -> tuple[list[str], gr.Dropdown, str]:
        """After a run: remember the checkpoint; what was fetched now works offline.

        Meanwhile another may have been picked, and the line is about that one.
        """
        newest = remember(recent, shown.main.checkpoint.ref)
        return newest, *self.opened(newest, picked, language)

    def _list(self, recent: Any, language: str, wanted: str | None = None) -> gr.Dropdown:
        choices = self.policy.choices(read_recent(recent), language)
        text = {"label": say(language, "page.checkpoint"), "info": _info(self.policy, language)}
        if wanted is None:
            return gr.Dropdown(choices=choices, label=text["label"], info=text["info"])
        return gr.Dropdown(choices=choices, value=wanted, label=text["label"], info=text["info"])


def build_picker(page: gr.Blocks, policy: CheckpointPolicy) -> Picker:
    """Lay the list out; its details come where the page wants them.

    The list is filled when a visitor comes: it names what is in the cache by then.
    """
    recent = gr.BrowserState([], storage_key=STORAGE, secret=STORAGE)
    checkpoint = gr.Dropdown(
        choices=[(policy.default, policy.default)],
        value=policy.default,
        allow_custom_value=policy.any_checkpoint,
        label=say(DEFAULT_LANGUAGE, "page.checkpoint"),
        info=_info(policy, DEFAULT_LANGUAGE),
        elem_id="checkpoint",
    )
    can = gr.HTML(elem_id="can", render=False)
    search = _search_box(page, checkpoint, policy) if policy.any_checkpoint else None
    picker = Picker(policy, checkpoint, can, recent, search)
    checkpoint.change(
        lambda ref: ability(policy, ref),
        checkpoint,
        can,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
    return picker


def _info(policy: CheckpointPolicy, language: str) -> str:
    if not policy.any_checkpoint:
        return say(language, "page.info.list")
    return say(language, "page.info.folder" if policy.own_machine else "page.info.hub")


def _search_box(
    page: gr.Blocks, checkpoint: gr.Dropdown, policy: CheckpointPolicy
) -> tuple[gr.Textbox, gr.HTML]:
    """The search of the Hub, wired but not laid out: the words, and what was found."""
    searches = gr.State()
    query = gr.Textbox(
        label=say(DEFAULT_LANGUAGE, "page.search"),
        show_label=False,
        container=False,
        placeholder=say(DEFAULT_LANGUAGE, "page.search"),
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
    """What a checkpoint can be asked for, or why it cannot be used, as soon as it is picked."""
    ref = (ref or "").strip()
    try:
        summary = policy.summary(ref)
    except DemoError as error:
        content = error_html(error)
    else:
        if policy.needs_pickle(ref):
            content = sentence("page.pickled")
        elif summary is None:
            content = sentence("page.not_here")
        else:
            content = in_every_language(partial(_about, summary))
    return f'<p class="about">{content}</p>'


def _about(summary: CheckpointSummary, language: str) -> str:
    """What a checkpoint is and which maps it allows, in one language, as HTML."""
    able = capabilities(summary.model)
    what = [summary.family, say(language, PLACES[summary.place])]
    if summary.classes is not None:
        what.insert(1, say(language, "page.classes", count=summary.classes))
    return f"<b>{escape(' · '.join(what))}</b><br>{escape(maps(summary.family, able, language))}"


def maps(family: str, able: Sequence[Capability], language: str = DEFAULT_LANGUAGE) -> str:
    """The methods that fit, which of them answer for one class, and how exact they are."""
    able = [one for one in able if one.unsupported_reason is None]

    def listed(key: str, some: Sequence[Capability]) -> str:
        names = say(language, "page.maps.separator").join(one.method.name for one in some)
        return say(language, key, names=names, family=family)

    specific = [one for one in able if one.method.class_specific]
    alike = [one for one in able if not one.method.class_specific]
    rough = [one for one in able if not one.exact]
    parts = [listed("page.maps.class", specific)] if specific else []
    if alike:
        parts.append(listed("page.maps.all", alike))
    if not rough:
        parts.append(listed("page.maps.exact", rough))
    elif len(rough) == len(able):
        parts.append(listed("page.maps.approximate", rough))
    else:
        parts.append(listed("page.maps.approximate.some", rough))
    # Chinese has no space between sentences.
    return " ".join(parts).replace("。 ", "。")


def remember(recent: Any, ref: str) -> list[str]:
    """What was used recently, the newest first."""
    return list(dict.fromkeys([ref, *read_recent(recent)]))[:MOST_RECENT]


def read_recent(value: Any) -> list[str]:
    """What a browser says was used recently; it may say anything."""
    given = value if isinstance(value, list) else []
    usable = [ref for ref in given if isinstance(ref, str) and 0 < len(ref) <= LONGEST_REF]
    return usable[:MOST_RECENT]
