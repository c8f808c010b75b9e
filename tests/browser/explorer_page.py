"""The explorer on a static page of its own: no Gradio, no model behind it, only files."""

import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from vit_demo.settings import ASSETS

# It keeps `explorer`, and counts in `asked` the layers and patches that were asked for.
HTML = Path(__file__).with_name("explorer.html")


def write_page(folder, data, layers=(), patches=()):
    """Put the page, the scripts and its data into a folder."""
    shutil.copytree(ASSETS / "explorer", folder / "explorer", dirs_exist_ok=True)
    shutil.copy(HTML, folder / "index.html")
    (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
    for rows in layers:
        (folder / f"layer-{rows['layer']}.json").write_text(json.dumps(rows), encoding="utf-8")
    for rows in patches:
        name = f"patch-{rows['layer']}-{rows['patch'][0]}-{rows['patch'][1]}.json"
        (folder / name).write_text(json.dumps(rows), encoding="utf-8")
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *arguments):
        pass


class StaticPage:
    """A folder served on the loopback address."""

    def __init__(self, folder):
        handler = partial(_Quiet, directory=str(Path(folder)))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
