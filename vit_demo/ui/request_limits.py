"""What a request may hold before Gradio sees it: its size, its shape, and its uploads' names."""

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
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
# Besides the file itself a multipart body holds its headers.
MULTIPART_BYTES = 100_000
BODY_BYTES = MEGABYTE
LONGEST_SESSION = 64

UPLOAD = "/gradio_api/upload"
JOIN, ANSWERS = "/gradio_api/queue/join", "/gradio_api/queue/data"
# An event that does not wait in the queue, like a click on an example.
UNQUEUED = "/gradio_api/run/predict"
EVENTS = frozenset({JOIN, UNQUEUED})
# All that the page's own scripts ask for. Gradio serves more: a video converter, a proxy, calls
# outside the queue, statistics. No page of ours needs them, so they do not exist here.
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
    "/explorer/",
    "/pwa_icon",
    "/static/",
    "/svelte/",
    "/gradio_api/file=",
    "/gradio_api/heartbeat/",
)
WRITTEN = EVENTS | {UPLOAD, "/gradio_api/cancel", "/gradio_api/reset"}

MALFORMED = b'{"detail":"This request does not fit the page; reload it."}'
CLOSING = b'{"detail":"The page is being stopped; try again in a minute."}'
TOO_LARGE = b'{"detail":"This request is too large."}'
NOT_FOUND = b'{"detail":"Not Found"}'

# What the parser of uploads raises for a body that is none.
UNREADABLE_UPLOAD = (MultiPartException, FormParserError, HTTPException, TypeError)


class RequestLimits:
    """Refuses requests that are too large or that name no event, and takes uploads in.

    `adopted` hears of the files that were uploaded, and `waits` says whether a session has asked
    for anything, without which Gradio has no answers to stream. Nothing is put into the queue
    unless the page `admits` it. A refusal is a status of 4xx, or 503, and a constant sentence,
    and leaves nothing in the log.
    """

    def __init__(
        self,
        app: ASGIApp,
        uploads: Uploads,
        events: Callable[[], Collection[int]],
        adopted: Callable[[Sequence[str]], None],
        waits: Callable[[str], bool],
        admits: Callable[[], bool],
    ) -> None:
        self._app, self._uploads, self._events = app, uploads, events
        self._adopted, self._waits, self._admits = adopted, waits, admits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = str(scope["path"]).removeprefix(scope.get("root_path", "")).rstrip("/")
        if not _serves(scope["method"], path):
            await _refuse(send, 404, NOT_FOUND)
            return
        if scope["method"] != "POST":
            if path == ANSWERS and not self._waits(_query(scope, "session_hash")):
                await _refuse(send, 404, MALFORMED)
            else:
                await self._app(scope, receive, send)
            return
        upload = path == UPLOAD
        limit = UPLOAD_BYTES + MULTIPART_BYTES if upload else BODY_BYTES
        if _declared_bytes(scope) > limit:
            await _refuse(send, 413, TOO_LARGE)
        elif upload:
            await self._upload(scope, _counted(receive, limit), send)
        else:
            body = await _read(receive, limit)
            if body is None:
                await _refuse(send, 413, TOO_LARGE)
            elif path in EVENTS and not self._admits():
                await _refuse(send, 503, CLOSING)
            elif path in EVENTS and not self._names_an_event(body):
                await _refuse(send, 400, MALFORMED)
            else:
                await self._app(scope, _replayed(body, receive), send)

    def _names_an_event(self, body: bytes) -> bool:
        try:
            content = json.loads(body)
            # Half of a surrogate pair is no text: no answer that repeats it could be sent.
            json.dumps(content, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return False
        match content:
            case {"fn_index": int(event), "data": list(), "session_hash": str(session)}:
                known = not isinstance(event, bool) and event in self._events()
                return known and 0 < len(session) <= LONGEST_SESSION
        return False

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the files in as Gradio would, each request into a folder of its own.

        Gradio names a folder after a file's content, where two visitors' equal photos, and an
        example's copy, would take each other's place.
        """
        upload_id = _query(scope, "upload_id") or None
        if upload_id and not (upload_id.isalnum() and len(upload_id) <= LONGEST_SESSION):
            await _refuse(send, 400, MALFORMED)
            return
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
                await _refuse(send, *((413, TOO_LARGE) if too_large else (400, MALFORMED)))
                return
            except ClientDisconnect:
                return
            references = [self._uploads.adopt(Path(file)) for file in files]
        self._adopted(references)
        await _answer(send, 200, json.dumps(references).encode())


def _serves(method: str, path: str) -> bool:
    """Whether the page has a use for such a request."""
    if method == "POST":
        return path in WRITTEN
    return method in ("GET", "HEAD") and (path in READ or path.startswith(READ_BELOW))


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
    """The body once, and after it what the connection says."""
    pending = [body]

    async def replay() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replay


def _counted(receive: Receive, limit: int) -> Receive:
    """The body as it comes; one that is longer than it declared ends like a closed connection."""
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
