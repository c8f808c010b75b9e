"""The real app in a process of its own, and a real Chromium to look at it with."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from browser.chromium import FLAGS, find

ROOT = Path(__file__).parents[2]
START_SECONDS = 90


class Served:
    """One running app, ended by its own process handle."""

    def __init__(self, arguments=(), environment=None, log=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        self.log = log
        with Path(log or os.devnull).open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "app.py", "--port", str(port), *arguments],
                cwd=ROOT,
                # BROWSER: the app opens one at its start, and here it should not.
                env={**os.environ, "BROWSER": "true", **(environment or {})},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._wait()

    def _wait(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.url, timeout=5):
                    return
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.2)
        self.stop()
        words = Path(self.log).read_text() if self.log else ""
        raise RuntimeError(f"The app did not start:\n{words}")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)


@pytest.fixture(scope="session")
def chromium():
    """A browser. There is no skipping: where none can run, the tests have failed."""
    path = find()
    assert path, "There is no Chromium; run tests/check.py, which installs one."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The app as it starts by default, with no way to the Hub."""
    log = tmp_path_factory.mktemp("app") / "log"
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(log.parent / "hub")}
    app = Served(environment=offline, log=log)
    yield app
    app.stop()


@pytest.fixture
def page(chromium, served):
    """A fresh visitor of the app as it starts by default."""
    with visiting(chromium, served.url) as visitor:
        yield visitor


@contextmanager
def visiting(chromium, url, **options):
    """A fresh visitor. At the end: no error on the page, no bad answer, no request elsewhere."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, **options)
    visitor = context.new_page()
    visitor.set_default_timeout(30_000)
    faults = []
    visitor.on("pageerror", lambda error: faults.append(f"error: {error}"))
    visitor.on("console", lambda m: faults.append(f"console: {m.text}") if m.type == "error" else 0)
    visitor.on(
        "response", lambda r: faults.append(f"{r.status}: {r.url}") if r.status >= 400 else 0
    )
    visitor.on("request", lambda r: faults.append(f"elsewhere: {r.url}") if _leaves(r.url) else 0)
    visitor.goto(url)
    visitor.wait_for_selector("#can .about")
    yield visitor
    context.close()
    assert faults == []


def _leaves(url):
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))
