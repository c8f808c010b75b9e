"""Checks of requests before Gradio: size, format, host, path, and names of uploads."""

import json
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from gradio.route_utils import upload_fn
from gradio.routes import file_upload_statuses
from python_multipart.exceptions import FormParserError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vit_demo.settings import MEGABYTE
from vit_demo.ui.uploads import Uploads

UPLOAD_BYTES = 20 * MEGABYTE
# In addition to the file, a multipart body has headers.
MULTIPART_BYTES = 100_000
BODY_BYTES = MEGABYTE
LONGEST_SESSION = 64
LONGEST_NAME = 200
MOST_FILES = 10

HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")
MOST_PORTS = 65_536
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

UPLOAD = "/gradio_api/upload"
JOIN, ANSWERS = "/gradio_api/queue/join", "/gradio_api/queue/data"
# Events that bypass the queue, such as a click on an example.
UNQUEUED = "/gradio_api/run/predict"
EVENTS = frozenset({JOIN, UNQUEUED})
# All paths that the page's own scripts use. Gradio serves more: a video converter, a proxy, calls
# outside the queue, statistics. The page does not need them, so they are blocked.
READ = frozenset(
    {
        "",
        "/config",
        "/favicon.ico",
        "/manifest.json",
        "/robots.txt",
        "/theme.css",
        "/gradio_api/info",
        "/gradio_api/startup-events",
        "/gradio_api/theme.css",
        "/gradio_api/upload_progress",
        ANSWERS,
    }
)
READ_BELOW = (
    "/assets/",
    "/examples/",
    "/explorer/",
    "/pwa_icon",
    "/static/",
    "/svelte/",
    "/gradio_api/heartbeat/",
)
# Without "cancel", which frees the queue slot while the work continues, and without "reset".
WRITTEN = EVENTS | {UPLOAD}
FILES = "/gradio_api/file="
# The event fields that the page's own scripts use; all others are dropped.
FIELDS = ("data", "event_data", "fn_index", "session_hash", "trigger_id")

MALFORMED = b'{"detail":"This request does not fit the page; reload it."}'
BUSY = b'{"detail":"Too much is waiting, or the page is being stopped; try again in a minute."}'
TOO_LARGE = b'{"detail":"This request is too large."}'
OTHER_HOST = (
    b'{"detail":"This page answers to the names of its own machine, like localhost; '
    b'start it with --host to open it to others."}'
)
NOT_FOUND = b'{"detail":"Not Found"}'

# What the upload parser raises for an invalid body.
UNREADABLE_UPLOAD = (MultiPartException, FormParserError, HTTPException, TypeError)


class RequestLimits:
    """Rejects requests that are too large or name no event, and receives uploads.

    `adopted` is called with the uploaded files, and `waits` says whether a session has pending
    events; without any, Gradio has no answers to stream. An event enters the queue only if `admits`
    accepts its session. With `hosts`, the page answers only to these host names, which prevents DNS
    rebinding. A rejection is a 4xx or 503 status with a constant message, and nothing is logged.
    """

    def __init__(
        self,
        app: ASGIApp,
        uploads: Uploads,
        events: Callable[[], Collection[int]],
        adopted: Callable[[Sequence[str]], None],
        waits: Callable[[str], bool],
        admits: Callable[[str], bool],
        hosts: Collection[str] | None = None,
    ) -> None:
        self._app, self._uploads, self._events = app, uploads, events
        self._adopted, self._waits, self._admits = adopted, waits, admits
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = str(scope["path"]).removeprefix(scope.get("root_path", "")).rstrip("/")
        if not self._host_allowed(scope):
            await _refuse(send, 400, OTHER_HOST)
        elif not self._serves(scope["method"], path):
            await _refuse(send, 404, NOT_FOUND)
        elif scope["method"] != "POST":
            if path == ANSWERS and not self._waits(_query(scope, "session_hash")):
                await _refuse(send, 404, MALFORMED)
            else:
                await self._app(_sanitized(scope, path), receive, send)
        elif path == UPLOAD:
            if _declared_bytes(scope) > UPLOAD_BYTES + MULTIPART_BYTES:
                await _refuse(send, 413, TOO_LARGE)
            else:
                counted = _limited(receive, UPLOAD_BYTES + MULTIPART_BYTES)
                await self._upload(scope, counted, send)
        else:
            await self._event(scope, receive, send)

    async def _event(self, scope: Scope, receive: Receive, send: Send) -> None:
        too_large = _declared_bytes(scope) > BODY_BYTES
        body = None if too_large else await _read(receive, BODY_BYTES)
        if body is None:
            await _refuse(send, 413, TOO_LARGE)
            return
        event = self._named_event(body)
        if event is None:
            await _refuse(send, 400, MALFORMED)
        elif not self._admits(event["session_hash"]):
            await _refuse(send, 503, BUSY)
        else:
            content = json.dumps(event, ensure_ascii=False).encode()
            await self._app(_with_length(scope, len(content)), _replayed(content, receive), send)

    def _named_event(self, body: bytes) -> dict[str, Any] | None:
        """Parse a browser's event; None if it is not an event of this page."""
        try:
            content = json.loads(body)
            event = {name: content[name] for name in FIELDS if name in content}
            # Reject NaN, infinity and lone surrogates, because answers repeat these values.
            json.dumps(event, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, TypeError, RecursionError):
            return None
        match event:
            case {"fn_index": int(number), "data": list(), "session_hash": str(session)}:
                known = not isinstance(number, bool) and number in self._events()
                source = event.get("trigger_id")
                of_a_component = source is None or (
                    isinstance(source, int) and not isinstance(source, bool)
                )
                data = isinstance(event.get("event_data"), dict | None)
                if known and of_a_component and data and 0 < len(session) <= LONGEST_SESSION:
                    return event
        return None

    def _serves(self, method: str, path: str) -> bool:
        """Whether the page uses this kind of request."""
        if method == "POST":
            return path in WRITTEN
        if method not in ("GET", "HEAD"):
            return False
        if path.startswith(FILES):
            return self._uploads.serves(path.removeprefix(FILES))
        short = all(len(part) <= LONGEST_NAME for part in path.split("/"))
        return path in READ or (path.startswith(READ_BELOW) and short)

    def _host_allowed(self, scope: Scope) -> bool:
        """Whether the host name is valid and allowed."""
        for name, value in scope["headers"]:
            if name in (b"host", b"x-forwarded-host"):
                host = HOST.fullmatch(value.decode("latin-1").split(",")[0].strip())
                if host is None or int((host[2] or ":0")[1:]) >= MOST_PORTS:
                    return False
                allowed = self._hosts is None or host["name"] in self._hosts
                if name == b"host" and not allowed:
                    return False
        return True

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receive the files like Gradio, but with a separate folder for each request.

        Gradio names a folder after a file's content, so identical photos of two visitors, or the
        copy of an example, would share one path.
        """
        upload_id = _query(scope, "upload_id") or None
        if upload_id and not (upload_id.isalnum() and len(upload_id) <= LONGEST_SESSION):
            await _refuse(send, 400, MALFORMED)
            return
        references: list[str] = []
        refusal: tuple[int, bytes] | None = None
        with self._uploads.arriving() as folder:
            try:
                files, _, _ = await upload_fn(
                    Request(scope, receive),
                    folder,
                    UPLOAD_BYTES,
                    upload_id,
                    force_move=True,
                    upload_progress=file_upload_statuses if upload_id else None,
                )
            except UNREADABLE_UPLOAD as error:
                too_large = "maximum allowed size" in str(error)
                refusal = (413, TOO_LARGE) if too_large else (400, MALFORMED)
            except ClientDisconnect:
                return
            else:
                if len(files) > MOST_FILES:
                    refusal = 400, MALFORMED
                else:
                    references = self._uploads.adopt([Path(str(file)) for file in files])
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        self._adopted(references)
        await _answer(send, 200, json.dumps(references).encode())


def _sanitized(scope: Scope, path: str) -> Scope:
    """Remove what the page never sends but Gradio would process: range headers, saved links."""
    headers = [header for header in scope["headers"] if header[0] != b"range"]
    query = b"" if path in ("", "/config") else scope["query_string"]
    return {**scope, "headers": headers, "query_string": query}


def _with_length(scope: Scope, length: int) -> Scope:
    headers = [
        header
        for header in scope["headers"]
        if header[0] not in (b"content-length", b"transfer-encoding")
    ]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


def _declared_bytes(scope: Scope) -> int:
    stated = dict(scope["headers"]).get(b"content-length", b"0")
    return int(stated) if stated.isdigit() else 0


def _query(scope: Scope, name: str) -> str:
    return parse_qs(scope["query_string"].decode("latin-1")).get(name, [""])[0]


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The whole body, or None if it is longer than `limit`."""
    body = bytearray()
    while True:
        message = await receive()
        body.extend(message.get("body", b""))
        if len(body) > limit:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Replay the body once, then forward the connection's messages."""
    pending = [body]

    async def replay() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replay


def _limited(receive: Receive, limit: int) -> Receive:
    """Forward the body; if it exceeds `limit`, act as if the connection had closed."""
    count = 0

    async def counted() -> Message:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        return {"type": "http.disconnect"} if count > limit else message

    return counted


async def _refuse(send: Send, status: int, content: bytes) -> None:
    await _answer(send, status, content, (b"connection", b"close"))


async def _answer(send: Send, status: int, content: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
