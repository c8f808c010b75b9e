"""The explorer on a static page of its own: no Gradio, no model behind it, only files."""

import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from vit_demo.settings import ASSETS

# The page keeps `explorer`, and counts in `asked` the layers and patches that were asked for.
HTML = """<!doctype html>
<html lang="en" class="LANGUAGE">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Explorer</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="explorer/explorer.css">
<style>
  body { margin: 0; background: #f6f8fb; font: 14px/1.45 system-ui, "DejaVu Sans", sans-serif; color: #16202e; }
  body.dark { background: #0d1016; color: #e9edf4; }
  body > header { height: 56px; display: flex; align-items: center; padding: 0 22px; font-size: 19px;
    font-weight: 700; border-bottom: 1px solid #e1e6ee; background: #fff; }
  body.dark > header { background: #171c25; border-color: #2a313d; }
  body > main { display: grid; grid-template-columns: 250px minmax(0, 1fr); gap: 16px; padding: 16px 18px 24px 22px; }
  #left { display: grid; gap: 14px; align-content: start; min-width: 0; }
  #left img { width: 100%; border-radius: 10px; display: block; }
  @media (max-width: 760px) { body > main { grid-template-columns: minmax(0, 1fr); padding: 12px; } }
</style>
<body>
<header>Where does a Vision Transformer look?</header>
<main>
  <div id="left" class="explorer"><section class="box"><img id="upload" alt=""></section>
  <section class="box" id="top"></section></div>
  <div id="host"></div>
</main>
<script type="module">
  import { mount } from "./explorer/explorer.js";
  import { predictionBars } from "./explorer/predictions.js";
  const get = async (name) => (await fetch(name)).json();
  window.asked = [];
  const loadLayer = async (layer) => { asked.push(`layer ${layer}`); return get(`layer-${layer}.json`); };
  const loadPatch = async (layer, row, col) => {
    asked.push(`patch ${layer} ${row} ${col}`);
    return get(`patch-${layer}-${row}-${col}.json`);
  };
  window.changes = [];
  const data = await get("data.json");
  document.querySelector("#upload").src = data.photo.whole?.src ?? data.photo.crop.src;
  document.querySelector("#top").append(...predictionBars(data.predictions, data.words));
  document.body.classList.toggle("dark", location.search.includes("dark"));
  window.mount = mount;
  window.explorer = mount(document.querySelector("#host"), data, {
    loadLayer, loadPatch, change: (state) => changes.push(state),
  });
</script>
"""


def write_page(folder, data, layers=(), patches=()):
    """Put the page, the scripts and its data into a folder."""
    shutil.copytree(ASSETS / "explorer", folder / "explorer", dirs_exist_ok=True)
    (folder / "index.html").write_text(HTML, encoding="utf-8")
    (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
    for rows in layers:
        (folder / f"layer-{rows['layer']}.json").write_text(json.dumps(rows), encoding="utf-8")
    for rows in patches:
        name = f"patch-{rows['layer']}-{rows['patch'][0]}-{rows['patch'][1]}.json"
        (folder / name).write_text(json.dumps(rows), encoding="utf-8")
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}

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
