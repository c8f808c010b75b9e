"""The checkpoint picker: list, free text, Hub search, and the capabilities of the choice."""

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

# The browser's storage key for recently used checkpoints. The list is not secret, and a random key
# would lose it at every start of the app.
STORAGE = "vit-demo-recent"

SEVERAL_SEARCH = 4

# Text keys for the location of a checkpoint.
PLACES: Mapping[Place, str] = {
    "bundled": "page.place.bundled",
    "on this machine": "page.place.folder",
    "in the cache": "page.place.cache",
}


@dataclass(frozen=True)
class Picker:
    """The components of the checkpoint picker, and their updates on page load and after a run."""

    policy: CheckpointPolicy
    checkpoint: gr.Dropdown
    can: gr.HTML
    recent: gr.BrowserState
    search: tuple[gr.Textbox, gr.HTML] | None

    def lay_out_details(self) -> None:
        """Place the capabilities of the choice and the Hub search here."""
        with gr.Group(elem_id="picker"):
            self.can.render()
            for part in self.search or ():
                part.render()

    @property
    def parts(self) -> tuple[Any, ...]:
        """The components whose text depends on the language."""
        return (self.checkpoint, self.can, *(self.search or ())[:1])

    def read_ref(self, ref: Any) -> str | None:
        """The checkpoint of a link, if this page offers it; the value is untrusted."""
        usable = isinstance(ref, str) and 0 < len(ref) <= LONGEST_REF
        return ref if usable and self.policy.admits(ref) else None

    def spoken(
        self, recent: Any, picked: str | None, language: str, wanted: str | None = None
    ) -> dict[Any, Any]:
        """Updates of all parts for a language; `wanted` replaces the picked checkpoint."""
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
        """Updates on page load: the list, and the capabilities of the current choice."""
        return self._list(recent, language), ability(self.policy, picked)

    def used(
        self, recent: Any, shown: Shown, picked: str | None, language: str = DEFAULT_LANGUAGE
    ) -> tuple[list[str], gr.Dropdown, str]:
        """Updates after a run: store the checkpoint as recent and mark downloaded ones as offline.

        The capabilities are those of `picked`, which may have changed during the run.
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
    """Build the list; the caller places the details.

    The list is filled on page load, so that it includes the current contents of the cache.
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
    """The Hub search, connected but not placed: the query box and the results."""
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
    """The capabilities of a checkpoint, or why it cannot be used, as HTML."""
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
            content = in_every_language(partial(_description, summary))
    return f'<p class="about">{content}</p>'


def _description(summary: CheckpointSummary, language: str) -> str:
    """Description of a checkpoint and its available maps, in one language, as HTML."""
    able = capabilities(summary.model)
    what = [summary.family, say(language, PLACES[summary.place])]
    if summary.classes is not None:
        what.insert(1, say(language, "page.classes", count=summary.classes))
    return f"<b>{escape(' · '.join(what))}</b><br>{escape(maps(summary.family, able, language))}"


def maps(family: str, able: Sequence[Capability], language: str = DEFAULT_LANGUAGE) -> str:
    """The supported methods, which of them are class-specific, and which are exact."""
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
    """The recently used checkpoints, newest first."""
    return list(dict.fromkeys([ref, *read_recent(recent)]))[:MOST_RECENT]


def read_recent(value: Any) -> list[str]:
    """The recently used checkpoints from browser storage; the value is untrusted."""
    given = value if isinstance(value, list) else []
    usable = [ref for ref in given if isinstance(ref, str) and 0 < len(ref) <= LONGEST_REF]
    return usable[:MOST_RECENT]
