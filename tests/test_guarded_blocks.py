"""A stranger's requests to the running page, by the queue's protocol: a Space, and one's own."""

import json
import os
import random
import threading
import time
from pathlib import Path

import pytest
from browser.conftest import Served
from PIL import Image
from visitor import META, Visitor, photo

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "assets" / "examples"
REFUSAL = "This photo is not on this page any more; upload it again or click an example."
DOES_NOT_FIT = "This request does not fit the page; reload it."
LABELS = {"honey-bee.jpg": "daisy", "drawn-sunflower.png": "sunflowers", "dahlia.jpg": "roses"}

# Nothing a client sends may make the log grow by more than this.
LOG_BYTES = 25_000


@pytest.fixture(scope="module", params=["space", "own machine"])
def app(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    environment = {"HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": str(folder / "uploads")}
    if request.param == "space":
        environment["SPACE_ID"] = "owner/name"
    app = Served(environment=environment, log=folder / "log")
    app.uploads = folder / "uploads"
    app.space = request.param == "space"
    yield app
    app.stop()


@pytest.fixture
def make_visitor(app):
    visitors = []

    def make():
        visitors.append(Visitor(app.url))
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.close()


@pytest.fixture
def visitor(make_visitor):
    return make_visitor()


@pytest.fixture
def other(make_visitor):
    return make_visitor()


def explorer_data(message):
    answers = (value for value in message["output"]["data"] if isinstance(value, dict))
    return next(value for value in answers if "predictions" in value)


def label(message):
    assert message["success"], message["output"]
    return explorer_data(message)["predictions"][0]["label"]


def example(visitor, number=0):
    """The reference that clicking an example gives."""
    dataset = next(c for c in visitor.config["components"] if c["type"] == "dataset")
    event = next(
        d["id"] for d in visitor.config["dependencies"]
        if [dataset["id"], "click"] in [list(target) for target in d["targets"]]
    )  # fmt: skip
    return visitor.send(event, [number])["output"]["data"][0]["value"]


def test_ones_own_upload_and_the_examples_are_analysed(visitor):
    own = visitor.upload(EXAMPLES / "honey-bee.jpg")
    assert label(visitor.run(photo(own))) == "daisy"
    # The page names it with more fields, which are not used.
    full = photo(own, url="http://127.0.0.1:1/", orig_name="../../x", size=7, mime_type="x/y")
    assert label(visitor.run(full)) == "daisy"
    assert label(visitor.run(example(visitor, 0))) == "roses"


def forged(app, own, theirs, elsewhere):
    """A hundred file references that were not issued to the session that sends them."""
    inside = next(app.uploads.glob("vit_demo-run-*"))
    if not (inside / "fifo").exists():
        os.mkfifo(inside / "fifo")
        (inside / "link.png").symlink_to(elsewhere)
        (inside / "loop.png").symlink_to(inside / "loop.png")
        (inside / "copy.png").write_bytes(elsewhere.read_bytes())
    relative = os.path.relpath(elsewhere, ROOT)
    paths = [
        elsewhere, relative, EXAMPLES / "dahlia.jpg", "assets/examples/dahlia.jpg",
        "/etc/passwd", "/etc/shadow", "/proc/self/environ", "/proc/self/mem", "/dev/zero",
        "/dev/stdin", "/dev/random", "/", "/root", ".", "..", "~", "", " ", "\0",
        inside, inside / "fifo", inside / "link.png", inside / "loop.png", inside / "copy.png",
        inside / "lock", f"{own}/..", f"{Path(own).parent}/../{Path(own).parent.name}/photo.jpg",
        f"{inside}/../../../etc/passwd", theirs, f"/{theirs}", f"file://{theirs}",
        f"file://{elsewhere}", "http://127.0.0.1:1/photo.png", "http://localhost/photo.png",
        "http://169.254.169.254/latest/meta-data", "https://example.org/photo.png",
        "ftp://example.org/photo.png", "data:image/png;base64,AAAA", "\\\\host\\share\\x.png",
        "C:\\Windows\\win.ini", "x" * 5000, "%2e%2e%2fetc%2fpasswd", "/gradio_api/file=/etc/passwd",
    ]  # fmt: skip
    references = [photo(path) for path in paths]
    references += [{"path": str(path)} for path in paths]  # without the mark of a file
    references += [photo(path, url=f"{app.url}gradio_api/file={own}") for path in paths[:6]]
    references += [
        {"url": str(elsewhere), "meta": META}, {"url": "data:image/png;base64,AAAA"},
        {"url": "http://127.0.0.1:1/photo.png", "meta": META}, {"meta": META}, {},
        str(elsewhere), str(own), [own], [[photo(own)]], 7, 1.5, True, {"path": [own]},
        {"path": {"path": own}}, {"path": None, "url": None}, {"path": 7, "meta": META},
        photo(theirs, is_stream=True), photo(elsewhere, is_stream=True),
    ]  # fmt: skip
    return references


def test_no_forged_reference_opens_anything(app, visitor, other, tmp_path):
    """Each is sent to Run and to the preview, while the other session's photo stays its own."""
    elsewhere = tmp_path / "private.png"
    Image.new("RGB", (40, 30), "red").save(elsewhere)
    theirs = other.upload(EXAMPLES / "drawn-sunflower.png")
    assert label(other.run(photo(theirs))) == "sunflowers"
    own = visitor.upload(EXAMPLES / "honey-bee.jpg")
    references = forged(app, own, theirs, elsewhere)
    assert len(references) >= 100
    preview = visitor.events("photo", "upload")[0]
    begin, log = time.monotonic(), app.log.stat().st_size
    for reference in references:
        for message in (visitor.run(reference), visitor.send(preview, [reference])):
            assert message["success"] is False, reference
            assert REFUSAL in message["output"]["error"], reference
    assert time.monotonic() - begin < 0.5 * len(references)
    assert app.log.stat().st_size == log
    assert label(visitor.run(photo(own))) == "daisy"
    assert label(other.run(photo(theirs))) == "sunflowers"


def test_a_request_may_leave_out_what_is_kept_on_the_server(visitor):
    """A State has no value in a request, so one without the last States is complete."""
    own = photo(visitor.upload(EXAMPLES / "honey-bee.jpg"))
    event = visitor.events("run", "click")[0]
    for more in ([], [None], ["zh"]):
        assert label(visitor.send(event, [*visitor.run_data(own), *more])) == "daisy"
    for short in (visitor.run_data(own)[:3], []):
        assert DOES_NOT_FIT in visitor.send(event, short)["output"]["error"]


def test_no_other_input_takes_a_file(app, visitor, tmp_path):
    """Gradio follows a file reference in any input of any event: none gets one."""
    own = visitor.upload(EXAMPLES / "honey-bee.jpg")
    for event in visitor.config["dependencies"]:
        for place, number in enumerate(event["inputs"]):
            if visitor.component(number) == "photo" or not event["backend_fn"]:
                continue
            for reference in (photo("/etc/passwd"), photo("http://127.0.0.1:1/x"), photo(own)):
                data = [None] * len(event["inputs"])
                data[place] = reference
                message = visitor.send(event["id"], data)
                kept = next(
                    c["type"] for c in visitor.config["components"] if c["id"] == number
                ) == "state"  # fmt: skip
                assert kept or DOES_NOT_FIT in message["output"]["error"], (event, reference)


def hostile_values():
    deep = []
    for _ in range(200):
        deep = [deep]
    return [
        None, "", "x", "x" * 5000, 0, -1, 10**30, 1e308, float("nan"), float("inf"), True, [], {},
        [1], ["a", None], {"a": 1}, {"__type__": "update"}, deep, "<img src=x onerror=alert(1)>",
        "\ud800", "relevance", "99", ["x"] * 5000,
    ]  # fmt: skip


def test_hostile_values_leave_next_to_nothing_in_the_log(app, visitor):
    """Every event, without a result behind it, with every kind of value in every place."""
    log = app.log.stat().st_size
    chance, sent = random.Random(0), 0
    for event in visitor.config["dependencies"]:
        if not event["backend_fn"]:
            continue
        for _ in range(12):
            data = [chance.choice(hostile_values()) for _ in event["inputs"]]
            body = {"fn_index": event["id"], "data": data, "session_hash": visitor.session}
            text = json.dumps(body)  # NaN and lone surrogates as they are
            joined = visitor.http.post(
                "gradio_api/queue/join", content=text, headers={"content-type": "application/json"}
            )
            assert joined.status_code in (200, 400, 422, 503)
            if joined.status_code == 200:
                visitor.wait(joined.json()["event_id"])
            sent += 1
    assert sent > 100
    assert "Traceback" not in app.log.read_text()[log:]
    assert app.log.stat().st_size - log < 2000


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"7", b'"x"', b"\xff\xfe", b"[" * 100_000,
        b'{"data": [], "session_hash": "x"}',
        b'{"fn_index": 9999, "data": [], "session_hash": "x"}',
        b'{"fn_index": -1, "data": [], "session_hash": "x"}',
        b'{"fn_index": true, "data": [], "session_hash": "x"}',
        b'{"fn_index": "0", "data": [], "session_hash": "x"}',
        b'{"fn_index": 1e400, "data": [], "session_hash": "x"}',
        b'{"fn_index": 0, "data": {}, "session_hash": "x"}',
        b'{"fn_index": 0, "data": [], "session_hash": null}',
        b'{"fn_index": 0, "data": [], "session_hash": ""}',
        b'{"fn_index": 0, "data": [], "session_hash": "' + b"x" * 100 + b'"}',
        b'{"fn_index": 0, "data": []}',
    ],
)  # fmt: skip
def test_requests_that_name_no_event_are_refused_in_silence(app, visitor, body):
    log = app.log.stat().st_size
    answer = visitor.http.post(
        "gradio_api/queue/join", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert app.log.stat().st_size == log


@pytest.mark.parametrize("declared", [True, False])
def test_a_request_larger_than_the_page_needs_is_refused(visitor, declared):
    content = b"x" * 2_000_000
    body = content if declared else iter([content])
    answer = visitor.http.post("gradio_api/queue/join", content=body)
    assert answer.status_code == 413


def test_an_upload_beyond_the_limit_is_refused_and_leaves_nothing(app, visitor, tmp_path):
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(25_000_000))
    before = {path for path in app.uploads.rglob("*") if path.is_file()}
    answer = visitor.http.post("gradio_api/upload", files={"files": ("x", large.read_bytes())})
    assert answer.status_code == 413
    assert {path for path in app.uploads.rglob("*") if path.is_file()} == before


def test_events_need_no_result_and_say_so(visitor):
    """What a page sends only after a Run, sent before it: words, and no traceback."""
    for channel in ("view", "test", "layer", "slide"):
        message = visitor.ask(channel, view="relevance", layer=3, id=1)
        refused = message["output"].get("error") or ""
        content = message["output"].get("data", [{}])[0]
        assert "press Run first" in refused or content == {"id": 1, "content": None}


POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
%%EndComments
{ } loop
"""


def children(process):
    """The process ids of a process's children, by any of its threads."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc to read it from")
@pytest.mark.parametrize("name", ["photo.jpg", "photo.eps", "photo.png"])
def test_postscript_is_refused_and_starts_no_interpreter(app, visitor, tmp_path, name):
    """Pillow would hand it to Ghostscript, which would never come back."""
    path = tmp_path / name
    path.write_bytes(POSTSCRIPT)
    reference = photo(visitor.upload(path))
    preview = visitor.events("photo", "upload")[0]
    begin = time.monotonic()
    ran, previewed = visitor.run(reference), visitor.send(preview, [reference])
    assert ran["success"] is False
    assert "not a picture that can be read here" in ran["output"]["error"]
    # A browser shows some suffixes by itself, so there may be no preview to make.
    if not previewed["success"]:
        assert previewed["output"] == ran["output"]
    assert time.monotonic() - begin < 5
    assert children(app.process) == []


def test_damaged_photos_end_in_a_picture_or_a_sentence(app, visitor, tmp_path):
    """Bytes of an example changed at random: an answer each, and nothing in the log."""
    chance, log = random.Random(0), app.log.stat().st_size
    original = (EXAMPLES / "drawn-sunflower.png").read_bytes()
    for number in range(20):
        content = bytearray(original)
        for _ in range(chance.randrange(1, 30)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path = tmp_path / f"{number}.png"
        path.write_bytes(content[: chance.randrange(100, len(content))])
        begin = time.monotonic()
        message = visitor.run(photo(visitor.upload(path)))
        assert message["success"] or "photo.png" in message["output"]["error"]
        assert time.monotonic() - begin < 5
    assert app.log.stat().st_size == log


def test_a_checkpoint_without_finite_numbers_is_refused_in_words(
    app, visitor, our_checkpoint, tmp_path
):
    """It used to answer NaN, for which no word was said."""
    if app.space:
        pytest.skip("a Space opens no folder")
    from safetensors.torch import load_file, save_file

    tensors = load_file(our_checkpoint / "model.safetensors")
    tensors["classifier.bias"][0] = float("nan")
    save_file(tensors, our_checkpoint / "model.safetensors", metadata={"format": "pt"})
    own = photo(visitor.upload(EXAMPLES / "honey-bee.jpg"))
    message = visitor.run(own, str(our_checkpoint))
    assert message["success"] is False
    assert "infinite, no numbers, or beyond 1e+12: head.bias" in message["output"]["error"]


def test_a_bombing_photo_stalls_nobody(visitor, other, tmp_path):
    """While one visitor's large photo is decoded, another's Run is answered as usual."""
    large = tmp_path / "large.png"
    Image.new("RGB", (8000, 8000)).save(large)
    bomb, own = visitor.upload(large), other.upload(EXAMPLES / "honey-bee.jpg")
    event = visitor.events("run", "click")[0]
    joined = [visitor.join(event, visitor.run_data(photo(bomb))) for _ in range(2)]
    assert all(answer.status_code == 200 for answer in joined)
    assert label(other.run(photo(own))) == "daisy"
    for message in visitor.wait_for_all([answer.json()["event_id"] for answer in joined]):
        assert label(message)


def test_a_run_that_was_admitted_is_delivered_though_the_queue_is_full(
    app, make_visitor, our_checkpoint
):
    """More Runs than the queue holds: what it takes is answered, in the event that it took."""
    if app.space:
        pytest.skip("a Space opens no folder, and the bundled checkpoint would take a minute")
    visitors = [make_visitor() for _ in range(12)]
    references = [photo(v.upload(EXAMPLES / "honey-bee.jpg")) for v in visitors]
    event = visitors[0].events("run", "click")[0]
    joined = {visitor: [] for visitor in visitors}
    for _ in range(6):
        for visitor, reference in zip(visitors, references, strict=True):
            data = visitor.run_data(reference, str(our_checkpoint))
            joined[visitor].append(visitor.join(event, data))
    statuses = [answer.status_code for answers in joined.values() for answer in answers]
    assert set(statuses) == {200, 503}
    delivered = 0
    for visitor, answers in joined.items():
        admitted = [a.json()["event_id"] for a in answers if a.status_code == 200]
        for message in visitor.wait_for_all(admitted) if admitted else ():
            assert label(message)
            delivered += 1
    assert delivered == statuses.count(200)


def test_answers_to_many_at_once_are_never_mixed(make_visitor):
    """Three photos, eight sessions, three Runs each: everybody gets the answer to their own."""
    wrong, right = [], []

    def visit(number):
        visitor = make_visitor()
        name = sorted(LABELS)[number % 3]
        reference = photo(visitor.upload(EXAMPLES / name))
        for _ in range(3):
            found = label(visitor.run(reference))
            (right if found == LABELS[name] else wrong).append((name, found))

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert wrong == []
    assert len(right) == 24


def resident(process):
    """Megabytes in memory of a process."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read it from")
def test_a_visitor_leaves_a_few_megabytes_whatever_the_photo(
    app, make_visitor, our_checkpoint, tmp_path
):
    """A photo of 12 megapixels takes 36 MB while it is read. It used to leave 65 MB behind."""
    if app.space:
        pytest.skip("a Space opens no folder")
    large = tmp_path / "large.jpg"
    with Image.open(EXAMPLES / "honey-bee.jpg") as example:
        example.resize((4000, 3000)).save(large)

    def visit():
        visitor = make_visitor()
        data = visitor.run(photo(visitor.upload(large)), str(our_checkpoint))
        assert label(data)

    visit()
    before = resident(app.process)
    for _ in range(10):
        visit()
    assert resident(app.process) - before < 10 * 14


def test_uploads_keep_no_name_of_their_visitor(app, visitor):
    visitor.upload(EXAMPLES / "honey-bee.jpg", name="Anna Müller, Berlin.jpg")
    names = [path.name for path in app.uploads.rglob("*") if path.is_file()]
    assert not [name for name in names if "Anna" in name]


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/api/x", "gradio_api/call/x", "gradio_api/call/v2/x", "gradio_api/run/x",
        "gradio_api/component_server", "gradio_api/process_recording", "gradio_api/stream/x",
        "gradio_api/vibe-edit", "gradio_api/vibe-code", "gradio_api/undo-vibe-edit", "login",
        "gradio_api/cancel", "gradio_api/reset",
    ],
)  # fmt: skip
def test_what_the_page_does_not_use_cannot_be_posted_to(app, visitor, path):
    log = app.log.stat().st_size
    for body in (b"{}", b"[]", b'{"fn_index": 99, "data": []}', b"\xff", b"x" * 1000):
        for kind in ("application/json", "multipart/form-data; boundary=x", "multipart/form-data"):
            answer = visitor.http.post(path, content=body, headers={"content-type": kind})
            assert answer.status_code == 404
    assert app.log.stat().st_size == log


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/call/x/y", "gradio_api/deep_link?session_hash=x", "gradio_api/openapi.json",
        "gradio_api/proxy=https://evil.hf.space/x", "gradio_api/runs", "gradio_api/file/app.py",
        "gradio_api/custom_component/x/client/component/x.js", "monitoring", "monitoring/summary",
        "gradio_api/stream/a/1/2/playlist.m3u8", "custom_component/1/server/x/..%2fx", "docs",
        "gradio_api/file=http://127.0.0.1:1/x", "gradio_api/file=https://example.org/x",
        "gradio_api/file=/etc/passwd", "gradio_api/file=app.py", "gradio_api/file=",
        "assets/" + "a" * 300, "static/" + "a" * 300, "static/%00",
    ],
)  # fmt: skip
def test_what_the_page_does_not_use_cannot_be_read(app, visitor, path):
    log = app.log.stat().st_size
    assert visitor.http.get(path).status_code == 404
    assert app.log.stat().st_size == log


FORM = "multipart/form-data; boundary=b"
FILE = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\nx\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=" + "b" * 5000, b"--"),
        ("multipart/form-data; boundary=", b"x"),
        ("text/plain", b"x"),
        (FORM, FILE.replace(b'"x"', b'".."')),
        (FORM, b"junk"),
        (FORM, b"--b\r\n\r\nx\r\n--b--\r\n"),
        (FORM, FILE.replace(b'; filename="x"', b"")),
    ],
)
def test_a_broken_upload_is_refused_in_silence(app, visitor, kind, body):
    log = app.log.stat().st_size
    answer = visitor.http.post("gradio_api/upload", content=body, headers={"content-type": kind})
    assert answer.status_code == 400
    assert app.log.stat().st_size - log < 200  # the parser warns in one line


@pytest.mark.parametrize("upload_id", ["%ff", "%ed%a0%80", "x" * 1000, "%00", "a/b"])
def test_an_upload_whose_name_is_no_name_is_refused(app, visitor, upload_id):
    log = app.log.stat().st_size
    answer = visitor.http.post(
        f"gradio_api/upload?upload_id={upload_id}", content=FILE, headers={"content-type": FORM}
    )
    assert answer.status_code == 400
    assert app.log.stat().st_size == log


def test_of_an_upload_of_many_files_none_is_kept(app, visitor):
    before = {path for path in app.uploads.rglob("*") if path.is_file()}
    files = [("files", (f"{number}.jpg", b"x")) for number in range(900)]
    begin = time.monotonic()
    assert visitor.http.post("gradio_api/upload", files=files).status_code == 400
    assert time.monotonic() - begin < 10
    assert {path for path in app.uploads.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "more",
    [
        {"trigger_id": float("nan")}, {"trigger_id": [1]}, {"event_data": 7}, {"event_data": "x"},
        {"data": [float("inf")]}, {"data": [{"a": float("nan")}]}, {"session_hash": "\ud800"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["gradio_api/queue/join", "gradio_api/run/predict"])
def test_an_event_that_is_no_browsers_is_refused_in_silence(app, visitor, path, more):
    log = app.log.stat().st_size
    event = {"fn_index": visitor.events("run", "click")[0], "data": [], "session_hash": "x"}
    answer = visitor.http.post(
        path,
        content=json.dumps({**event, **more}),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400
    assert app.log.stat().st_size == log


def test_what_no_browser_says_of_an_event_never_reaches_gradio(app, visitor):
    """Fields for other clients are left out, whatever they hold."""
    log = app.log.stat().st_size
    own = photo(visitor.upload(EXAMPLES / "honey-bee.jpg"))
    more = {"batched": True, "simple_format": 7, "event_id": "x", "oauth_token": [], "request": {}}
    event = visitor.events("run", "click")[0]
    assert label(visitor.send(event, visitor.run_data(own), **more)) == "daisy"
    assert app.log.stat().st_size == log


@pytest.mark.parametrize("host", ["a:b:c", "[::1", "evil.example:99999", "a b", "<x>"])
@pytest.mark.parametrize("header", ["host", "x-forwarded-host"])
def test_a_host_that_cannot_be_is_refused_in_silence(app, visitor, header, host):
    log = app.log.stat().st_size
    for path in ("", "config"):
        assert visitor.http.get(path, headers={header: host}).status_code == 400
    assert app.log.stat().st_size == log


def test_only_a_public_page_answers_to_any_name(app, visitor):
    """Else a foreign site could lead its own name to this machine, and read its folders."""
    answer = visitor.http.get("config", headers={"host": "evil.example:7860"})
    assert answer.status_code == (200 if app.space else 400)
    assert visitor.http.get("config", headers={"host": "localhost:7860"}).status_code == 200


@pytest.mark.parametrize(
    "ranges", ["bytes=0-1-2", "bytes=0-1,3-4", "bytes=²-³", "bytes=" + "9" * 500]
)
def test_parts_of_a_file_are_not_given(app, visitor, ranges):
    log = app.log.stat().st_size
    own = visitor.upload(EXAMPLES / "honey-bee.jpg")
    answer = visitor.http.get(
        f"gradio_api/file={own}", headers={"range": ranges.encode("latin-1", "replace")}
    )
    assert answer.status_code == 200
    assert len(answer.content) == (EXAMPLES / "honey-bee.jpg").stat().st_size
    assert app.log.stat().st_size == log


@pytest.mark.parametrize("query", ["?page=zz", "?deep_link=../../etc", "?deep_link=%00"])
def test_nothing_in_the_address_is_read_by_the_server(app, visitor, query):
    log = app.log.stat().st_size
    assert visitor.http.get(query).status_code == 200
    assert visitor.http.get("config" + query).status_code == 200
    assert app.log.stat().st_size == log


def test_one_visitor_cannot_fill_the_queue(make_visitor, visitor):
    own = photo(visitor.upload(EXAMPLES / "honey-bee.jpg"))
    event = visitor.events("run", "click")[0]
    statuses = [visitor.join(event, visitor.run_data(own)).status_code for _ in range(30)]
    assert statuses.count(200) <= 12
    assert statuses[-1] == 503
    other = make_visitor()
    assert label(other.run(photo(other.upload(EXAMPLES / "dahlia.jpg")))) == "roses"


def test_half_a_character_is_refused_before_it_is_repeated(app, visitor):
    log = app.log.stat().st_size
    data = Visitor.run_data(None)
    data[-1] = ["\ud800"]
    body = {"fn_index": visitor.events("run", "click")[0], "data": data, "session_hash": "x"}
    answer = visitor.http.post(
        "gradio_api/queue/join",
        content=json.dumps(body),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400
    assert app.log.stat().st_size == log
