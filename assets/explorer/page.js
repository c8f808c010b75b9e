/**
 * The explorer on the Gradio page.
 *
 * Gradio's HTML component gives its script `trigger`, which starts a server event. The server
 * answers by setting the value of another component. Every request has a number, and the answer
 * repeats it.
 */

import { beforeFirst, readAddress, writeAddress } from "./address.js";
import { element as make, write } from "./dom.js";
import { mount } from "./explorer.js";
import { chooseLanguage, firstLanguage } from "./language.js";
import { markClasses, predictionBars } from "./predictions.js";
import { explainRefusals } from "./sources.js";
import * as choices from "./state.js";
import { say } from "./words.js";

let bridge = null;
let head = null;
let language = firstLanguage();
const first = readAddress(location.search);
const WRITE_MS = 200;
const SPACES = "https://huggingface.co/spaces/";
showLanguage();

/** Called once, by the component that holds the explorer. */
export function connect({ element, props, trigger, watch, channels }) {
  if (props.offered && !props.offered.includes(first.checkpoint)) delete first.checkpoint;
  bridge = new Bridge(element, trigger, channels, props);
  document.addEventListener("click", takeOneClick, true);
  nameExamples();
  new MutationObserver(nameExamples).observe(document.body, { childList: true, subtree: true });
  const show = () => props.value && bridge.show(props.value);
  watch("value", show);
  if (props.value) show();
  else bridge.showFirstExample();
}

/** Called once, by the component with the title and the languages. */
export function masthead({ element, trigger }) {
  head = { element, notice: (key) => trigger("notice", { key }) };
  explainRefusals(head.notice);
  element.addEventListener("click", (click) => {
    if (click.target.closest("button[data-copy]")) copyLink();
    const button = click.target.closest("button[data-language]");
    if (!button || button.dataset.language === language) return;
    language = button.dataset.language;
    chooseLanguage(language);
    showLanguage();
    bridge?.speak();
    trigger("language", { language });
  });
  showLanguage();
}

/** The visitor's choices on page load, for the server, as JSON. */
export function arrive(recent, ref) {
  picked ??= first.checkpoint ?? ref;
  return JSON.stringify({ language, checkpoint: first.checkpoint });
}

/** Copy the URL of the current view; on a Space, that of the page that frames this one. */
async function copyLink() {
  bridge?.writeAddress();
  const space = bridge?.props.space;
  try {
    await navigator.clipboard.writeText(space ? `${SPACES}${space}${location.search}` : location.href);
    head.notice("page.copied");
  } catch {
    head.notice("page.not_copied");
  }
}

/** The style sheet shows the text of this language and hides the others. */
function showLanguage() {
  document.documentElement.lang = language;
  document.body.dataset.language = language;
  for (const button of head?.element.querySelectorAll("button[data-language]") ?? []) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
}

/** Gradio's image buttons have no accessible names; name each after its file. */
function nameExamples() {
  for (const button of document.querySelectorAll(".gallery-item:not([aria-label])")) {
    const file = button.querySelector("img")?.src.split("/").pop();
    if (file) button.setAttribute("aria-label", decodeURIComponent(file).replace(/\.\w+$/, "").replaceAll("-", " "));
  }
}

/** Called with the value of an answer component. */
export function answered(channel, value) {
  bridge?.answer(channel, value);
}

/** Called when a server event failed; its toast says why. */
export function failed(channel) {
  bridge?.fail(channel);
}

/*
 * A result belongs to the photo and the checkpoint at the time Run was pressed. If one of them
 * changes, the result is grayed out until there is a result for the current pair.
 */
const page = document.body.dataset;
let changes = 0;
let asked = 0;
let picked = null;
let photo = null;

/** Run was pressed. */
export function running() {
  asked = changes;
  bridge?.explorer.setState("busy");
}

/** Another photo, or none. An example with the bundled checkpoint is shown at once. */
export function photoChanged(file) {
  const name = file?.path?.split(/[\\/]/).pop();
  outdated();
  photo = bridge?.props.examples.includes(name) ? name : null;
  if (!photo) return;
  if (picked === null || picked === bridge.props.bundled) bridge.showExample(name);
  else document.querySelector("#run").click();
}

export function checkpointChanged(ref) {
  if (ref === picked) return;
  picked = ref;
  outdated();
  bridge?.writeSoon();
}

function outdated() {
  changes += 1;
  delete page.running;
  if (!bridge?.explorer.data) return;
  page.old = "yes";
  bridge.markOld();
}

/** Run has succeeded. */
export function fresh() {
  if (asked !== changes) return;
  delete page.old;
  bridge?.markOld();
}

/** Run has ended; if it failed, the previous result stays. */
export function ended() {
  delete page.running;
  bridge?.ended();
}

/** Ignore the second click of a double click: Gradio would start it before it handles the first. */
function takeOneClick(click) {
  if (!click.target.closest("#run")) return;
  if (page.running) click.stopImmediatePropagation();
  page.running = "yes";
  bridge.explorer.setState("busy");
}

class Bridge {
  constructor(element, trigger, channels, props) {
    this.trigger = trigger;
    this.props = props;
    this.count = 0;
    this.example = null;
    this.note = make("p", { class: "example-note", hidden: "" });
    const host = element.querySelector(".explorer-host");
    host.before(this.note);
    this.waiting = Object.fromEntries(channels.map((channel) => [channel, new Map()]));
    this.explorer = mount(host, null, {
      words: this.words,
      before: (data) => beforeFirst(first, data),
      loadLayer: (layer) => this.askLater("layer", { layer }),
      loadPatch: (layer, row, column) => this.ask("layer", { layer, row, column }),
      loadView: (view, classes) => this.ask("view", { view, ...classes }),
      loadLens: () => this.askLater("lens", { automatic: true }),
      testMap: (view, automatic) =>
        automatic ? this.askLater("test", { view, automatic }) : this.ask("test", { view }),
      saveSlide: (content) => this.ask("slide", content),
      change: (state, data) => this.mark(state, data),
    });
  }

  get words() {
    return this.props.tables[language];
  }

  /** Change the language, without a request to the server. */
  speak() {
    this.explorer.setWords(this.words);
    this.markOld();
    write(this.note, say(this.words, "page.example"));
    if (!this.explorer.data) return;
    this.showNames(this.explorer.data);
    this.mark(this.explorer.state, this.explorer.data);
  }

  /** The server's answer; null if the request was rejected or failed. */
  ask(channel, content) {
    const waiting = this.waiting[channel];
    if (channel === "view") this.fail(channel, undefined); // Only the latest choice matters.
    return new Promise((resolve) => {
      this.count += 1;
      waiting.set(this.count, resolve);
      this.trigger(channel, { ...content, id: this.count, example: this.example });
    });
  }

  /** A background request; for an example, it waits until the visitor uses the explorer. */
  async askLater(channel, content) {
    const { example } = this;
    if (example) await this.used;
    return example === this.example ? this.ask(channel, content) : null;
  }

  showFirstExample() {
    const { examples, bundled, picked_first } = this.props;
    if ((first.checkpoint ?? picked_first) !== bundled) return;
    this.showExample(examples.includes(first.example) ? first.example : examples[0]);
  }

  /** Show the precomputed explorer of an example, from a file. */
  async showExample(name) {
    const at = changes;
    const answer = await fetch(new URL(`examples/${name.replace(/\.\w+$/, "")}.json`, document.baseURI));
    const data = await answer.json();
    if (at !== changes || page.running) return; // The visitor has done something else in the meantime.
    this.used = new Promise((resolve) => {
      for (const kind of ["pointermove", "pointerdown", "focusin"]) {
        this.explorer.root.addEventListener(kind, resolve, { once: true });
      }
    });
    delete page.old;
    await this.show(data, name);
  }

  answer(channel, value) {
    const resolve = this.waiting[channel].get(value?.id);
    if (!resolve) return;
    this.waiting[channel].delete(value.id);
    resolve(value.content === null ? null : JSON.parse(value.content));
  }

  fail(channel, result = null) {
    for (const resolve of this.waiting[channel].values()) resolve(result);
    this.waiting[channel].clear();
  }

  async show(data, example = null) {
    for (const channel of Object.keys(this.waiting)) this.fail(channel);
    this.example = example;
    this.photo = example ?? photo; // The current example, even after a run on it.
    this.note.hidden = !example;
    write(this.note, say(this.words, "page.example"));
    page.example = example ? "yes" : "";
    this.markOld();
    this.showNames(data);
    await this.explorer.update({ ...data, example, words: this.words });
  }

  showNames(data) {
    const names = document.querySelector("#names .names-host");
    const choose = (index, compare) => (compare ? this.explorer.compare(index) : this.explorer.explain(index));
    names?.replaceChildren(...predictionBars(data.predictions, this.words, choose));
  }

  mark(state, data) {
    const names = document.querySelector("#names .names-host");
    if (names) markClasses(names, choices.explained(state, data), state.versus);
    this.writeSoon();
  }

  /** Keep the choices in the URL; updates are limited to a few per second. */
  writeSoon() {
    this.writing ??= setTimeout(() => this.writeAddress(), WRITE_MS);
  }

  writeAddress() {
    clearTimeout(this.writing);
    this.writing = null;
    const { state, data } = this.explorer;
    const checkpoint = picked === this.props.picked_first ? null : picked;
    const example = this.photo === this.props.examples[0] ? null : this.photo;
    const address = writeAddress(location.href, { checkpoint, example, state, data });
    if (address.href !== location.href) history.replaceState(history.state, "", address);
  }

  /** Mark or unmark the result as one of another photo or checkpoint. */
  markOld() {
    const { root } = this.explorer;
    if (page.old) root.dataset.old = say(this.words, "state.old");
    else delete root.dataset.old;
    this.explorer.render();
  }

  ended() {
    const { explorer } = this;
    if (explorer.root.dataset.state === "busy" && !explorer.loading) {
      explorer.setState(explorer.results ? "ready" : "error");
    }
  }
}
