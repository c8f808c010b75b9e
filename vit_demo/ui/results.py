"""The current results of all visitors, up to a limit in bytes."""

import secrets
from collections import OrderedDict
from threading import Lock

from vit_demo.errors import PhotoError
from vit_demo.ui.shown import Shown

TOKEN_BYTES = 16
NO_RESULT = "There is no result yet; press Run first."
NO_LONGER_KEPT = "This result is not kept any more; press Run again."


class SupersededError(Exception):
    """A newer request of the visitor has replaced this one; its answer is not needed."""


class Results:
    """Every visitor's last result under a random token; the least recently used is evicted.

    The newest always stays, even if it alone exceeds the limit.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[str, Shown] = OrderedDict()
        self._newest_question: dict[str, object] = {}
        self._background: dict[str, dict[str, object]] = {}
        self._bytes = 0
        self._lock = Lock()

    def add(self, shown: Shown, replaces: str | None = None) -> str:
        """Store a new result and delete the one it replaces; returns its token."""
        token = secrets.token_hex(TOKEN_BYTES)
        self.drop(replaces)
        with self._lock:
            self._put(token, shown)
        return token

    def keep(self, token: str, shown: Shown) -> None:
        """Store a result under a given token."""
        self.drop(token)
        with self._lock:
            self._put(token, shown)

    def get(self, token: str | None) -> Shown:
        """The result for a token; raises PhotoError if there is none."""
        if token is None:
            raise PhotoError(NO_RESULT)
        with self._lock:
            if token not in self._kept:
                raise PhotoError(NO_LONGER_KEPT)
            self._kept.move_to_end(token)
            return self._kept[token]

    def has(self, token: str | None) -> bool:
        """Whether the result for a token is still stored."""
        with self._lock:
            return token in self._kept

    def begin_question(self, token: str) -> object:
        """Start a new request about a result; it supersedes the previous one."""
        question = object()
        with self._lock:
            self._newest_question[token] = question
        return question

    def asked(self, token: str) -> bool:
        """Whether a result has had any request."""
        with self._lock:
            return token in self._newest_question

    def check_question(self, token: str, question: object) -> None:
        """Raises SupersededError if a newer request was started or the result is gone."""
        with self._lock:
            if self._newest_question.get(token) is not question or token not in self._kept:
                raise SupersededError

    def begin_background(self, token: str, task: str) -> object:
        """Start an automatic task; it supersedes an older one of the same name."""
        ticket = object()
        with self._lock:
            self._background.setdefault(token, {})[task] = ticket
        return ticket

    def check_background(self, token: str, task: str, ticket: object) -> None:
        """Raises SupersededError if a newer task or a run has superseded this one."""
        with self._lock:
            current = self._background.get(token, {}).get(task)
            if current is not ticket or token not in self._kept:
                raise SupersededError

    def end_background(self, token: str | None) -> None:
        """Cancel all automatic tasks of a result, because its visitor has pressed Run."""
        with self._lock:
            self._background.pop(token or "", None)

    def answer(self, token: str, question: object, shown: Shown) -> None:
        """Replace the result by the answer; raises SupersededError if a newer request exists."""
        self.check_question(token, question)
        with self._lock:
            if token in self._kept:
                self._bytes -= self._kept.pop(token).bytes
                self._put(token, shown)

    def drop(self, token: str | None) -> None:
        """Delete a result, if it is still stored."""
        with self._lock:
            self._newest_question.pop(token or "", None)
            self._background.pop(token or "", None)
            if token in self._kept:
                self._bytes -= self._kept.pop(token).bytes

    @property
    def bytes(self) -> int:
        """Total size of all results."""
        with self._lock:
            return self._bytes

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)

    def _put(self, token: str, shown: Shown) -> None:
        self._kept[token] = shown
        self._bytes += shown.bytes
        while len(self._kept) > 1 and self._bytes > self._limit:
            oldest, gone = self._kept.popitem(last=False)
            self._bytes -= gone.bytes
            self._newest_question.pop(oldest, None)
            self._background.pop(oldest, None)
