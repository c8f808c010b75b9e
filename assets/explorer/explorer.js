/**
 * The explorer: two linked panes, a wall of all layers and heads, and the followed patch.
 *
 * It draws a data object, whatever its source:
 *
 *   const explorer = mount(element, data, { loadLayer, loadPatch, change });
 *   explorer.update(data)          another result; keeps the choices where possible
 *   explorer.setLayer(layer)       all rows of one layer, without a request
 *   explorer.addView(view)         add a view, or replace the view with the same name
 *   explorer.setLens(lens)         the head's output after every layer
 *   explorer.setTrust(trust)       the quick faithfulness test
 *   explorer.setWords(words)       change the language, keep the result
 *   explorer.setState("busy")      or ("error", message), ("empty")
 *   explorer.choose({layer: 3})    views, layer, head, pin, whole, opacity
 *   explorer.explain(index)        a map of a class; explorer.compare(index) with another one
 *   explorer.destroy()
 *
 * All hooks are optional. They return promises of data from payload.py:
 * `loadLayer(number)` of layer_rows, `loadPatch(layer, row, col)` of patch_rows,
 * `loadView(name, {target, versus})` of the view, or null if it was rejected,
 * `loadLens()` of lens_data, or null; `testMap(name, automatic)` of trust_data, or
 * null if it was rejected or stopped. `saveSlide({view, target, versus, layer, head, smooth})`
 * downloads the right pane's map. `change(state, data)` is called after every choice.
 */

import { accountPanel } from "./account.js";
import { Card } from "./card.js";
import { bytesOf } from "./decode.js";
import { element, fillMenu, write } from "./dom.js";
import { Lens } from "./lens.js";
import { Maps } from "./maps.js";
import { Pane } from "./pane.js";
import * as choices from "./state.js";
import { trustPanel } from "./trust.js";
import { Wall } from "./wall.js";
import { say, text } from "./words.js";

const FRAME_MS = 700;
const TIMINGS = 1024;
// A map that is shown this long is tested automatically; the control map is not.
const STANDS_MS = 1000;
const CONTROL = "random";
// Views with a separate map for every patch.
const OF_A_PATCH = ["looks", "pairs", "rows"];
const KEYS = [
  ["← ↑ → ↓", "keys.arrows"],
  ["[ ]", "keys.layers"],
  ["h", "keys.heads"],
  ["g", "keys.lines"],
  ["1 … 9", "keys.views"],
  ["Enter / Esc", "keys.pin"],
];

export function mount(host, data, hooks = {}) {
  return new Explorer(host, data, hooks);
}

class Explorer {
  constructor(host, data, hooks) {
    this.hooks = hooks;
    this.words = hooks.words ?? data?.words ?? {};
    this.run = 0;
    this.results = 0;
    this.timings = [];
    this.asked = new Set();
    this.build(host);
    this.listen();
    if (data) this.update(data);
    else this.setState("empty");
  }

  build(host) {
    this.root = host.id === "explorer" ? host : element("section", { id: "explorer" });
    if (this.root !== host) host.replaceChildren(this.root);
    this.root.classList.add("explorer");
    this.panes = { a: new Pane("a"), b: new Pane("b") };
    this.card = new Card();
    this.wall = new Wall((layer, head) => this.pick(layer, head), (layer, head) => this.cellName(layer, head));
    this.lens = new Lens();
    this.account = element("section", { class: "box account" });
    this.trust = element("section", { class: "box trust" });
    this.message = element("p", { class: "message", role: "status" });
    this.live = element("p", { class: "unseen", "aria-live": "polite" });
    this.buildControls();
    this.wallTitle = element("h3");
    this.wallNone = element("p", { class: "quiet" });
    this.wallBox = element(
      "section",
      { class: "box wall" },
      element("header", {}, this.wallTitle, this.controls),
      this.wallNone,
      this.wall.node,
      this.lens.node,
    );
    this.keys = element("dialog", { class: "keys" });
    this.root.replaceChildren(
      this.message,
      element("div", { class: "panes" }, this.panes.a.node, this.panes.b.node),
      element("div", { class: "lower" }, this.wallBox, element("div", { class: "aside" }, this.card.node, this.account, this.trust)),
      this.live,
      this.keys,
    );
  }

  buildControls() {
    this.layerMenu = element("select", { "data-control": "layer" });
    this.headMenu = element("select", { "data-control": "head" });
    this.play = element("button", { type: "button", class: "play", "data-control": "play" }, "▶");
    this.opacity = element("input", { type: "range", min: "0", max: "1", step: "0.05", "data-control": "opacity" });
    this.whole = element("input", { type: "checkbox", "data-control": "whole" });
    this.smooth = element("input", { type: "checkbox", "data-control": "smooth" });
    this.slide = element("button", { type: "button", class: "action", "data-control": "slide" });
    this.slide.hidden = !this.hooks.saveSlide;
    this.names = {
      smooth: element("span"),
      layer: element("span"),
      head: element("span"),
      opacity: element("span"),
      whole: element("span"),
    };
    this.wholeLabel = element("label", {}, this.whole, this.names.whole);
    this.controls = element(
      "div",
      { class: "controls" },
      this.wholeLabel,
      element("label", {}, this.smooth, this.names.smooth),
      element("label", {}, this.names.opacity, this.opacity),
      element("label", {}, this.names.layer, this.layerMenu),
      element("label", {}, this.names.head, this.headMenu),
      this.play,
      this.slide,
    );
  }

  listen() {
    for (const pane of Object.values(this.panes)) this.listenTo(pane);
    this.layerMenu.addEventListener("change", () =>
      this.set(choices.withLayer(this.state, this.data, Number(this.layerMenu.value))),
    );
    this.headMenu.addEventListener("change", () =>
      this.set(choices.withHead(this.state, this.data, Number(this.headMenu.value))),
    );
    this.opacity.addEventListener("input", () => this.set({ ...this.state, opacity: Number(this.opacity.value) }));
    this.whole.addEventListener("change", () => this.set({ ...this.state, whole: this.whole.checked }));
    this.smooth.addEventListener("change", () => this.set({ ...this.state, smooth: this.smooth.checked }));
    this.slide.addEventListener("click", () => this.saveSlide());
    this.play.addEventListener("click", () => (this.timer ? this.stop() : this.start()));
    this.root.addEventListener("keydown", (press) => this.press(press));
    this.observer = new ResizeObserver(() => this.fit());
    for (const pane of Object.values(this.panes)) this.observer.observe(pane.canvas);
  }

  listenTo(pane) {
    pane.menu.addEventListener("change", () =>
      this.set(choices.withView(this.state, this.data, pane.name, pane.menu.value)),
    );
    const chosen = (menu) => (menu.value === "" ? null : Number(menu.value));
    pane.target.addEventListener("change", () =>
      this.set(choices.withTarget(this.state, this.data, chosen(pane.target))),
    );
    pane.versus.addEventListener("change", () =>
      this.set(choices.withVersus(this.state, this.data, chosen(pane.versus))),
    );
    pane.sequence.addEventListener("change", () => this.set({ ...this.state, sequence: pane.sequence.checked }));
    const canvas = pane.canvas;
    const follow = (pointer) => {
      if (this.data) this.set(choices.withHover(this.state, pane.patchAt(pointer, this.data)));
    };
    canvas.addEventListener("pointermove", follow);
    canvas.addEventListener("pointerdown", (pointer) => {
      // A touch that starts here is followed, even if it moves to the other pane.
      if (pointer.pointerType !== "mouse") canvas.setPointerCapture(pointer.pointerId);
      if (this.state) this.state = { ...this.state, active: pane.name };
      follow(pointer);
    });
    canvas.addEventListener("pointerleave", () => this.state && this.set(choices.withHover(this.state, null)));
    canvas.addEventListener("focus", () => {
      if (this.state) this.state = { ...this.state, active: pane.name };
    });
    canvas.addEventListener("click", (click) => {
      const patch = this.data && pane.patchAt(click, this.data);
      if (patch) this.set(choices.pinned(this.state, patch), true);
    });
  }

  press(press) {
    if (!this.state || press.ctrlKey || press.metaKey || press.altKey) return;
    const form = press.target.closest("select, input, dialog");
    if (press.key === "?" && !this.keys.open) {
      this.keys.showModal();
      press.preventDefault();
      return;
    }
    if (form) return;
    if (press.key === "Enter" && press.target.matches("canvas")) {
      const patch = this.state.pin ? null : choices.followed(this.state);
      const next = patch ? { ...this.state, pin: patch } : choices.movedPin({ ...this.state, pin: null }, this.data, 0, 0);
      this.set(next, true);
      press.preventDefault();
      return;
    }
    const next = choices.afterKey(this.state, this.data, press.key);
    if (!next) return;
    press.preventDefault();
    this.set(next, true);
  }

  /** Show another result. It is drawn once its images are decoded. */
  async update(data) {
    this.stop();
    this.run += 1;
    if (!data.example) this.results += 1; // Nobody ran an example: it was precomputed.
    const run = this.run;
    this.quiet = false;
    this.loading = true;
    this.setState("busy");
    try {
      const images = await loadImages(data);
      if (run !== this.run) return;
      this.words = data.words ?? this.words;
      this.data = { ...data, run };
      this.images = images;
      this.maps = new Maps(data);
      this.asked = new Set();
      this.awaited = null;
      this.testing = null;
      this.trusts = new WeakMap();
      this.quiet = false;
      this.tables = { sequential: bytesOf(data.colours.sequential), diverging: bytesOf(data.colours.diverging) };
      this.state = choices.begin(data, this.state ?? this.hooks.before?.(data));
      if (data.trust) this.keepTrust(data.trust);
      this.relabel();
      this.setState("ready");
      this.wantViews(this.state);
      this.hooks.change?.(this.state, this.data);
    } catch (error) {
      if (run === this.run) this.setState("error", error.message);
      throw error;
    } finally {
      if (run === this.run) this.loading = false;
    }
    this.loadTheRest(run);
  }

  /** Load in the background: the layers, the lens, and then the test of the current map. */
  async loadTheRest(run) {
    await this.prefetch(run);
    await this.loadLens(run);
    if (run !== this.run) return;
    this.quiet = true;
    this.testSoon();
  }

  setState(name, message = "") {
    this.root.dataset.state = name;
    this.root.setAttribute("aria-busy", String(name === "busy"));
    write(this.message, name === "ready" ? "" : say(this.words, `state.${name}`, { message }));
    if (name === "ready") {
      this.root.dataset.run = this.results;
      this.fit();
      this.render();
    } else if (!this.data) {
      this.root.dataset.run = 0;
      this.root.dataset.patch = "";
    }
  }

  setWords(words) {
    this.words = words;
    if (this.data) {
      this.relabel();
      this.render();
    } else this.setState(this.root.dataset.state);
  }

  setLens(lens) {
    if (!this.data) return;
    this.data = { ...this.data, lens };
    this.lens.set(lens);
    this.drawLens();
  }

  drawLens() {
    const { data, words, state } = this;
    this.lens.draw({ data, words, explained: choices.explained(state, data), layer: state.layer });
  }

  setTrust(trust) {
    if (!this.data) return;
    this.keepTrust(trust);
    this.renderTrust();
  }

  keepTrust(trust) {
    const view = trust.view ? choices.viewNamed(this.data, trust.view) : this.mapInSight();
    if (view) this.trusts.set(view, trust);
  }

  /** Show the result of the test only for the map that was tested. */
  renderTrust() {
    if (this.data) this.trust.replaceChildren(...this.trustContent());
  }

  /** Show the logit decomposition of the first current map that has one; the right pane is first. */
  renderAccount() {
    const { data, state, words } = this;
    const views = [state.views.b, state.views.a].map((name) => choices.viewNamed(data, name));
    const view = views.find((each) => each.account && !choices.missing(each, state));
    this.account.hidden = !view;
    if (!view || (this.accounted?.view === view && this.accounted.words === words)) return;
    this.accounted = { view, words };
    this.account.replaceChildren(...accountPanel(view.account, words));
  }

  /** The map of the right pane; only a patch map can be tested or saved as a slide. */
  mapInSight() {
    const view = choices.viewNamed(this.data, this.state.views.b);
    return view.kind === "map" && !choices.missing(view, this.state) ? view : null;
  }

  /** Test the map in the right pane, on request or automatically. */
  async test(automatic = false) {
    const view = this.mapInSight();
    if (!view || this.testing === view) return;
    const { run } = this;
    this.testing = view;
    this.automatic = automatic;
    this.renderTrust();
    const trust = await this.hooks.testMap(view.name, automatic);
    if (run !== this.run) return;
    if (trust) this.trusts.set(view, trust);
    if (this.testing === view) {
      this.testing = null;
      // Do not restart a test that was stopped.
      if (automatic && !trust) this.quiet = false;
    }
    this.renderTrust();
    this.testSoon();
  }

  /** Test the map in the right pane automatically, after all loading and a short wait. */
  testSoon() {
    clearTimeout(this.soon);
    if (!this.quiet || !this.hooks.testMap) return;
    this.soon = setTimeout(async () => {
      const { run } = this;
      await idle();
      const ready = run === this.run && this.quiet && this.root.dataset.state === "ready" && !document.hidden;
      const view = ready ? this.mapInSight() : null;
      const free = !this.awaited && (!this.testing || this.automatic);
      if (view && view.name !== CONTROL && free && !this.trusts.has(view)) this.test(true);
    }, STANDS_MS);
  }

  saveSlide() {
    const { views, target, versus, layer, head, smooth } = this.state;
    this.hooks.saveSlide({ view: views.b, target, versus, layer, head, smooth });
  }

  addView(view) {
    if (!this.data) return;
    const there = this.data.views.some(({ name }) => name === view.name);
    const views = there
      ? this.data.views.map((each) => (each.name === view.name ? view : each))
      : [...this.data.views, view];
    this.data = { ...this.data, views };
    this.maps.forget(view.name);
    for (const [name, pane] of Object.entries(this.panes)) {
      pane.describe(this.data, this.words, choices.viewNamed(this.data, this.state.views[name]));
    }
    this.render();
    this.renderTrust();
    this.testSoon();
  }

  /** Show a map of a class, in the right pane if no pane has one. */
  explain(index) {
    if (!this.data) return;
    this.set(choices.withClassMap(choices.withTarget(this.state, this.data, index), this.data), true);
  }

  /** Show the same map minus that of another class: why this class and not the other? */
  compare(index) {
    if (!this.data) return;
    this.set(choices.withClassMap(choices.withVersus(this.state, this.data, index), this.data), true);
  }

  async setLayer(layer) {
    const run = this.run;
    const maps = this.maps;
    await maps.add(layer);
    if (run !== this.run) return;
    if (this.data.rows && this.data.rows.heads < this.data.heads[layer.layer - 1]) {
      this.wall.draw(maps, this.tables.sequential, layer.layer);
    }
    this.render();
  }

  choose(changes) {
    if (!this.state) return;
    const wanted = { ...this.state, ...changes, views: { ...this.state.views, ...changes.views } };
    if (changes.target !== undefined || changes.versus !== undefined) wanted.ref = this.state.ref;
    this.set({ ...choices.begin(this.data, wanted), hover: this.state.hover });
  }

  destroy() {
    this.stop();
    clearTimeout(this.soon);
    this.run += 1;
    this.observer.disconnect();
    this.root.replaceChildren();
  }

  trustContent() {
    const view = this.data && this.mapInSight();
    const result = view ? this.trusts.get(view) : null;
    const options = {
      test: this.hooks.testMap ? () => this.test() : null,
      running: Boolean(view) && this.testing === view,
      disabled: view ? "" : say(this.words, "trust.no_map"),
    };
    const panel = trustPanel(result ?? null, this.words, options);
    return [element("h3", {}, say(this.words, "trust.title")), ...panel];
  }

  /** Update everything that depends on the language or the data, but not on the choices. */
  relabel() {
    const { data, words } = this;
    for (const [name, pane] of Object.entries(this.panes)) {
      pane.describe(data, words, choices.viewNamed(data, this.state.views[name]));
    }
    for (const name of ["layer", "head", "opacity", "whole", "smooth"]) write(this.names[name], say(words, `control.${name}`));
    this.wholeLabel.hidden = !data.photo.whole;
    const heading = data.rows ? say(words, `wall.title.${data.rows.reader.replace("reader.", "")}`) : "";
    const attention = choices.viewNamed(data, "attention");
    this.wallBox.toggleAttribute("data-none", !data.rows);
    write(this.wallTitle, heading);
    write(
      this.wallNone,
      data.rows || !attention?.reason ? "" : say(words, "wall.none"),
    );
    if (data.rows) {
      this.wall.build(data, heading, (head) => say(words, head ? "wall.head" : "wall.mean", { head }));
      this.wall.draw(this.maps, this.tables.sequential);
    } else this.wall.node.replaceChildren();
    this.lens.set(data.lens);
    const layers = Array.from({ length: data.layers }, (_, i) => ({ value: i + 1, label: String(i + 1) }));
    fillMenu(this.layerMenu, layers, this.state.layer);
    this.headsOf = null;
    this.trust.replaceChildren(...this.trustContent());
    this.playing(Boolean(this.timer));
    this.keys.replaceChildren(
      element("h3", {}, say(words, "keys.title")),
      element("dl", {}, ...KEYS.flatMap(([key, name]) => [element("dt", {}, key), element("dd", {}, say(words, name))])),
      element("form", { method: "dialog" }, element("button", {}, say(words, "keys.close"))),
    );
  }

  cellName(layer, head) {
    return say(this.words, "wall.cell", { layer, head: this.headName(head, layer) });
  }

  headName(head, layer) {
    if (head) return say(this.words, "head.one", { head });
    return say(this.words, "head.mean", { heads: this.data.heads[layer - 1] });
  }

  pick(layer, head) {
    this.stop();
    this.set(choices.withCell(this.state, this.data, layer, head));
  }

  /** Set a new state and draw it; with `announce`, report the pinned patch to screen readers. */
  set(state, announce = false) {
    if (state === this.state) return;
    const before = this.state;
    this.state = state;
    this.want(before);
    this.wantViews(before);
    this.render();
    if (!choices.same(before.hover, state.hover)) return;
    this.renderTrust();
    this.testSoon();
    if (announce && state.pin && !choices.same(before.pin, state.pin)) write(this.live, this.card.node.innerText);
    const { hover: _, ...chosen } = state;
    this.hooks.change?.(chosen, this.data);
  }

  /** Draw the state: attributes and images in one step. */
  render() {
    if (!this.data || this.root.dataset.state !== "ready") return;
    const began = performance.now();
    const { data, state, words, maps, images, tables } = this;
    const patch = choices.followed(state);
    this.root.dataset.patch = state.hover ? state.hover.join(",") : "";
    this.root.dataset.pin = state.pin ? state.pin.join(",") : "";
    this.root.dataset.layer = state.layer;
    this.root.dataset.head = state.head;
    let shown = null;
    for (const [name, pane] of Object.entries(this.panes)) {
      const view = choices.viewNamed(data, state.views[name]);
      const map = maps.of(view, state, patch);
      if (pane.canvas.width && pane.ratio) pane.draw({ data, state, view, map, images, tables });
      pane.relabel(words, view);
      pane.offerSequence(data, words, view, state);
      pane.offerClasses(data, words, view, state, choices.explained(state, data));
      pane.explain({ words, view, map, tables, sentences: this.sentences(view, map, patch) });
      if (map?.values && !OF_A_PATCH.includes(view.kind)) shown = { view, map };
    }
    this.card.draw({
      data,
      words,
      maps,
      state,
      picture: images.picture,
      patch,
      headName: (head, layer) => this.headName(head, layer),
      shown,
    });
    this.controlsFollow();
    this.drawLens();
    this.renderAccount();
    this.timings.push(performance.now() - began);
    if (this.timings.length > TIMINGS) this.timings.shift();
  }

  sentences(view, map, patch) {
    const { words, state, data } = this;
    const said = view.caption.map((sentence) => text(words, sentence));
    if (view.kind === "attention" || view.kind === "looks") {
      said.unshift(say(words, "caption.place", { layer: state.layer, head: this.headName(state.head, state.layer) }));
    }
    const follows = OF_A_PATCH.includes(view.kind);
    if (view.kind === "patches" && choices.inSequence(state, data)) said[0] = this.sequenceSaid();
    if (follows && !patch && !view.to_come) return [say(words, "caption.no_patch")];
    if (view.to_come) said.push(say(words, "caption.computing"));
    else if ((follows || view.kind === "attention") && !map) said.push(say(words, "caption.loading"));
    return said;
  }

  sequenceSaid() {
    const { words, data } = this;
    const first = data.prefix_names.map((name) => `[${name}]`).join(" ");
    const numbers = { tokens: data.tokens, patches: data.grid[0] * data.grid[1], first };
    return say(words, first ? "caption.sequence" : "caption.sequence.plain", numbers);
  }

  controlsFollow() {
    const { data, state, words } = this;
    const heads = data.heads[state.layer - 1];
    if (this.headsOf !== heads) {
      this.headsOf = heads;
      const rows = Array.from({ length: heads + 1 }, (_, head) => ({
        value: head,
        label: head ? String(head) : say(words, "wall.mean"),
      }));
      fillMenu(this.headMenu, rows, state.head);
    }
    this.layerMenu.value = state.layer;
    this.headMenu.value = state.head;
    this.opacity.value = state.opacity;
    this.whole.checked = state.whole;
    this.smooth.checked = state.smooth;
    const saved = data.rows && choices.viewNamed(data, state.views.b).kind === "attention";
    this.slide.disabled = Boolean(this.root.dataset.old) || (!saved && !this.mapInSight());
    const slide = say(words, "control.slide");
    write(this.slide, slide);
    this.slide.title = this.slide.disabled ? say(words, "control.no_slide") : slide;
    this.wall.select(state.layer, state.head);
  }

  fit() {
    let changed = false;
    for (const pane of Object.values(this.panes)) changed = pane.resize() || changed;
    if (changed) this.render();
  }

  /** Play the row of head means: one layer after another, once. */
  start() {
    if (!this.data?.rows) return;
    this.pick(1, 0);
    this.playing(true);
    this.timer = setInterval(() => {
      if (this.state.layer >= this.data.layers) this.stop();
      else this.set(choices.withLayer(this.state, this.data, this.state.layer + 1));
    }, FRAME_MS);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.playing(false);
  }

  playing(on) {
    write(this.play, on ? "■" : "▶");
    const name = say(this.words, on ? "control.stop" : "control.play");
    this.play.setAttribute("aria-label", name);
    this.play.title = name;
  }

  /** Request missing data of the chosen layer and the pinned patch, each once. */
  want(before) {
    const { data, state } = this;
    if (!data.rows) return;
    const moved = before.layer !== state.layer;
    if (moved) this.load(state.layer);
    if (data.whole_layers || !state.pin || !this.hooks.loadPatch) return;
    if (!moved && choices.same(before.pin, state.pin)) return;
    const name = `${state.layer},${state.pin}`;
    if (this.asked.has(name) || this.maps.hasPatch(state.layer, state.pin)) return;
    this.asked.add(name);
    const { maps, run } = this;
    this.hooks
      .loadPatch(state.layer, ...state.pin)
      .then((rows) => rows && maps.addPatch(rows))
      .then(() => run === this.run && this.render())
      .catch(() => this.asked.delete(name));
  }

  /** Request missing content of the chosen views: one at a time, the latest choice first. */
  wantViews(before) {
    if (!this.hooks.loadView || !this.data) return;
    const lacking = choices.PANES.map((pane) => {
      const view = choices.viewNamed(this.data, this.state.views[pane]);
      const content = view.reason ? null : choices.missing(view, this.state);
      return content && { pane, name: view.name, ...content };
    }).filter(Boolean);
    const key = ({ name, target, versus }) => `${name} ${target} ${versus}`;
    if (!lacking.length) this.awaited = null;
    if (!lacking.length || lacking.some((one) => key(one) === this.awaited)) return;
    const next = lacking.find(({ pane }) => pane === this.state.active) ?? lacking[0];
    this.awaited = key(next);
    this.loadView(next, this.awaited, before);
  }

  async loadView({ name, target, versus }, key, before) {
    const { run } = this;
    const view = await this.hooks.loadView(name, { target, versus });
    if (run !== this.run || this.awaited !== key) return; // The choice has changed in the meantime.
    this.awaited = null;
    if (view) {
      this.addView(view);
      this.wantViews(this.state);
    } else {
      // A rejected view is not shown: go back to the available views.
      const { views, target: was, versus: other } = before;
      this.set({ ...this.state, views: this.complete(views), target: was, versus: other });
    }
  }

  /** Select the first available ones of these views. */
  complete(views) {
    const shown = choices.begin(this.data).views;
    const drawn = (name) => !choices.viewNamed(this.data, name).to_come;
    return Object.fromEntries(choices.PANES.map((pane) => [pane, drawn(views[pane]) ? views[pane] : shown[pane]]));
  }

  async load(layer) {
    if (!this.hooks.loadLayer || this.asked.has(layer) || this.maps.has(layer)) return;
    this.asked.add(layer);
    const { asked, run } = this;
    try {
      const rows = await this.hooks.loadLayer(layer);
      if (rows && run === this.run) await this.setLayer(rows);
    } catch {
      asked.delete(layer); // Request the layer again when it is next shown.
    }
  }

  /** Load the lens last, because it is the least urgent. */
  async loadLens(run) {
    await idle();
    if (run !== this.run || !this.data?.lens?.to_come || !this.hooks.loadLens) return;
    const lens = await this.hooks.loadLens();
    if (lens && run === this.run) this.setLens(lens);
  }

  /** Load all layers, the chosen one first, each when the page is idle. */
  async prefetch(run) {
    if (!this.data?.rows) return;
    const order = [this.state.layer, ...Array.from({ length: this.data.layers }, (_, i) => this.data.layers - i)];
    for (const layer of order) {
      await idle();
      if (run !== this.run) return;
      await this.load(layer);
    }
  }
}

function idle() {
  const wait = window.requestIdleCallback ?? ((call) => setTimeout(call, 50));
  return new Promise((resolve) => wait(() => resolve(), { timeout: 2000 }));
}

async function loadImages(data) {
  const sources = { crop: data.photo.crop.src, whole: data.photo.whole?.src, picture: data.picture.src };
  const images = {};
  await Promise.all(
    Object.entries(sources).map(async ([name, source]) => {
      if (!source) return;
      const image = new Image();
      image.src = source;
      await image.decode();
      images[name] = image;
    }),
  );
  return images;
}
