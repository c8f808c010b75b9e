"""gr.Blocks that accept only plain values and the visitor's own photo as event inputs."""

from collections.abc import Collection, Sequence
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.exceptions import ComponentProcessingError, InvalidPathError
from gradio.state_holder import SessionState
from pydantic import ValidationError

from vit_demo.errors import DemoError, PhotoError
from vit_demo.ui.languages import error_html
from vit_demo.ui.photo_input import PhotoInput
from vit_demo.ui.uploads import Uploads

DOES_NOT_FIT = "This request does not fit the page; reload it."
LONGEST_TEXT, LONGEST_LIST = 2_000, 100
# Limits of waiting events per session, and of sessions with answers that were not fetched.
MOST_WAITING, MOST_UNREAD = 10, 1_000


class GuardedBlocks(gr.Blocks):
    """Checks every input of every event before any component or handler processes it.

    Gradio would follow any file reference in any input: it opens paths and fetches URLs. Here a
    photo is the only allowed file, and only under a reference that was issued to the same session.
    Invalid inputs are rejected with a toast, without a traceback in the log.
    """

    def __init__(self, uploads: Uploads, **options: Any) -> None:
        super().__init__(**options)
        self.uploads = uploads
        self.closing = False

    def known_events(self) -> Collection[int]:
        """The event numbers that a browser may use."""
        return self.fns.keys()

    @property
    def running(self) -> int:
        """The number of running events, and of finished ones whose answers were not fetched yet."""
        active = sum(job is not None for job in self._queue.active_jobs)
        return active + sum(not m.empty() for m in self._messages())

    def _messages(self) -> list[Any]:
        return list(self._queue.pending_messages_per_session.values())

    def refuse_new_work(self) -> None:
        """Reject new events from now on. (Stopping the queue would drop its answers.)"""
        self.closing = True

    def admits_work(self, session: str) -> bool:
        """Whether the queue accepts an event of a session; there is a limit per session.

        Unfetched answers are kept for the latest sessions only.
        """
        waiting = self._queue.pending_event_ids_session
        unread = self._queue.pending_messages_per_session
        while len(unread) >= MOST_UNREAD:
            oldest = next(iter(unread))
            unread.pop(oldest, None)
            waiting.pop(oldest, None)
        return not self.closing and len(waiting.get(session, ())) < MOST_WAITING

    def waits(self, session: str) -> bool:
        """Whether a session has put an event into the queue and not yet received its end."""
        return session in self._queue.pending_messages_per_session

    def adopt(self, uploaded: Sequence[str]) -> None:
        """Register uploaded files with Gradio, which deletes them after an hour."""
        self.upload_file_set.update(uploaded)

    async def process_api(
        self, block_fn: BlockFunction | int, inputs: list[Any], *args: Any, **options: Any
    ) -> dict[str, Any]:
        """Check the inputs, then let Gradio run the event."""
        event = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        checked = self.checked(event.inputs, inputs, options.get("session_hash") or "")
        return await super().process_api(block_fn, checked, *args, **options)

    def checked(self, blocks: Sequence[Any], inputs: Sequence[Any], session: str) -> list[Any]:
        """The validated inputs of one event; raises gr.Error for invalid ones."""
        # A State is kept on the server, so a request may omit trailing States.
        missing = len(blocks) - len(inputs)
        if missing > 0 and all(isinstance(block, gr.State) for block in blocks[-missing:]):
            inputs = [*inputs, *[None] * missing]
        if len(inputs) < len(blocks):
            raise refusal(DOES_NOT_FIT)
        return [
            self._photo(value, session)
            if isinstance(block, PhotoInput)
            else _checked_value(block, value)
            for block, value in zip(blocks, inputs, strict=False)
        ]

    def _photo(self, reference: Any, session: str) -> dict[str, Any] | None:
        if reference is None:
            return None
        try:
            self.uploads.open_for(session, reference)
        except PhotoError as error:
            raise refusal(error) from error
        return {"path": reference["path"], "meta": {"_type": "gradio.FileData"}}

    async def preprocess_data(
        self,
        block_fn: BlockFunction,
        inputs: list[Any],
        state: SessionState | None,
        explicit_call: bool = False,
    ) -> list[Any]:
        """Report values that a component rejects, such as an unknown choice, as invalid input."""
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except (gr.Error, ComponentProcessingError, InvalidPathError, ValidationError) as error:
            raise refusal(DOES_NOT_FIT) from error


def refusal(error: DemoError | str) -> gr.Error:
    """A toast for a rejected request; nothing is logged."""
    return gr.Error(error_html(error), print_exception=False)


def _checked_value(block: Any, value: Any) -> Any:
    """The value, if it has the component's type and cannot be taken for a file."""
    match block, value:
        case gr.Dataset(), None:
            pass
        case _, None:
            return value
        case gr.State(), _:
            return None  # kept on the server; the request's value is ignored
        case gr.Checkbox(), bool():
            return value
        case gr.Slider() | gr.Dataset(), int() | float() if not isinstance(value, bool):
            return value
        case gr.Dropdown() | gr.Textbox(), str() if len(value) <= LONGEST_TEXT:
            return value
        case gr.BrowserState(), list() if len(value) <= LONGEST_LIST and all(
            isinstance(entry, str) and len(entry) <= LONGEST_TEXT for entry in value
        ):
            return value
    raise refusal(DOES_NOT_FIT)
