"""A visitor without a browser, who speaks the queue's protocol and may forge all of it."""

import json
import secrets
import time
from contextlib import suppress
from pathlib import Path

import httpx

META = {"_type": "gradio.FileData"}
SECONDS = 120


class Visitor:
    """One session with a running page."""

    def __init__(self, url):
        self.session = secrets.token_hex(6)
        self.http = httpx.Client(base_url=url, timeout=SECONDS)
        self.config = self.http.get("config").json()

    def component(self, number):
        """The elem_id of a component, or its number."""
        found = next(c for c in self.config["components"] if c["id"] == number)
        return found["props"].get("elem_id") or number

    def events(self, elem_id, kind):
        """The numbers of the events that a component's `kind` triggers."""
        number = next(
            c["id"] for c in self.config["components"] if c["props"].get("elem_id") == elem_id
        )
        return [
            d["id"]
            for d in self.config["dependencies"]
            if [number, kind] in [list(target) for target in d["targets"]] and d["backend_fn"]
        ]

    def upload(self, path, name=None):
        """Upload a file; the reference that the page gives it."""
        content = Path(path).read_bytes()
        files = {"files": (name or Path(path).name, content)}
        return self.http.post("gradio_api/upload", files=files).json()[0]

    def join(self, event, data, **more):
        """Put an event into the queue: the HTTP answer."""
        body = {"fn_index": event, "data": data, "session_hash": self.session, **more}
        return self.http.post("gradio_api/queue/join", json=body)

    def send(self, event, data, **more):
        """Put an event into the queue and wait: its output, or None where it was not admitted."""
        joined = self.join(event, data, **more)
        if joined.status_code != 200:
            return None
        return self.wait(joined.json()["event_id"])

    def wait(self, event_id):
        """The output of an event of this session."""
        return self.wait_for_all([event_id])[0]

    def wait_for_all(self, event_ids):
        """The outputs of events of this session.

        All in one connection, read until the server ends it, as a browser does: a page that closes
        it has left, and its events are dropped, also those that it sends right after.
        """
        answers = {}
        end = time.monotonic() + SECONDS
        url = f"gradio_api/queue/data?session_hash={self.session}"
        with self.http.stream("GET", url) as stream:
            assert stream.status_code == 200
            try:
                for line in stream.iter_lines():
                    assert time.monotonic() < end, "no answer came"
                    message = json.loads(line[len("data:") :]) if line else {}
                    if message.get("msg") == "process_completed":
                        answers[message["event_id"]] = message
                    if message.get("msg") == "close_stream":
                        break
            except httpx.RemoteProtocolError:
                # An app that ends after its last answer closes no stream.
                if not answers.keys() >= set(event_ids):
                    raise
        return [answers[event_id] for event_id in event_ids]

    def run(self, reference, checkpoint="flowers"):
        """Press Run with a photo reference: the output."""
        event = self.events("run", "click")[0]
        return self.send(event, self.run_data(reference, checkpoint))

    @staticmethod
    def run_data(reference, checkpoint="flowers"):
        return [reference, checkpoint, None, []]

    def ask(self, channel, **content):
        """What the explorer asks: the output of one of its events."""
        event = self.events("explorer-panel", channel)[0]
        return self.send(event, [None], event_data=content)

    def close(self):
        with suppress(httpx.HTTPError):
            self.http.close()


def photo(path, **more):
    """A file reference as a browser sends it."""
    return {"path": str(path), "meta": META, **more}
