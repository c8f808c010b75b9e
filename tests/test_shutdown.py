"""A page that is told to stop finishes what runs, takes nothing new, and ends with status 0."""

import os
import signal
import threading
from pathlib import Path

import pytest
from browser.conftest import Served
from visitor import Visitor, photo

from vit_demo.ui.shutdown import finish, stop_signals


class Page:
    """A page that has so much to do, and does some of it at each look."""

    def __init__(self, work):
        self.work, self.calls = work, []

    @property
    def running(self):
        self.work = max(self.work - 1, 0)
        return self.work

    def refuse_new_work(self):
        self.calls.append("refuse")

    def close(self):
        self.calls.append("close")


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize(("work", "finished"), [(0, True), (3, True), (10**6, False)])
def test_what_runs_is_finished_within_the_grace(work, finished):
    page, clock = Page(work), Clock()
    assert finish(page, 5.0, clock, clock.sleep) is finished
    assert page.calls == ["refuse", "close"]
    assert clock.now <= 5.1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_event_and_the_handlers_come_back(number):
    before = signal.getsignal(number)
    with stop_signals() as asked:
        os.kill(os.getpid(), number)
        assert asked.wait(5)
        assert signal.getsignal(number) is signal.SIG_DFL, "a second one ends the process at once"
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_in_progress_is_answered_before_the_app_ends(number, tmp_path):
    environment = {"HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": str(tmp_path / "uploads")}
    app = Served(environment=environment, log=tmp_path / "log")
    try:
        visitor = Visitor(app.url)
        reference = photo(visitor.upload("assets/examples/honey-bee.jpg"))
        event = visitor.events("run", "click")[0]
        joined = visitor.join(event, visitor.run_data(reference)).json()["event_id"]
        answers = []
        listening = threading.Thread(target=lambda: answers.append(visitor.wait(joined)))
        listening.start()
        app.process.send_signal(number)
        listening.join(30)
        assert app.process.wait(30) == 0
        visitor.close()
    finally:
        app.stop()
    assert answers[0]["success"]
    assert list((tmp_path / "uploads").glob("vit_demo-run-*")) == []
    assert "Traceback" not in app.log.read_text()
    assert "--share" in app.log.read_text()
    assert "launch()" not in app.log.read_text()


def test_what_a_killed_app_left_is_gone_at_the_next_start(tmp_path):
    uploads = tmp_path / "uploads"
    environment = {"HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": str(uploads)}
    app = Served(environment=environment)
    visitor = Visitor(app.url)
    left = Path(visitor.upload("assets/examples/honey-bee.jpg"))
    visitor.close()
    app.process.kill()
    app.process.wait(10)
    assert left.exists()
    Served(environment=environment).stop()
    assert not left.exists()
    assert list(uploads.glob("vit_demo-run-*")) == []
