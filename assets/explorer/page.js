/**
 * The explorer on the Gradio page.
 *
 * Gradio's HTML component gives a script `trigger`, which starts an event of the server, and the
 * server answers by setting the value of another component. Every request has a number, and the
 * answer repeats it.
 */

import { mount } from "./explorer.js";
import { markClasses, predictionBars } from "./predictions.js";
import * as choices from "./state.js";
import { say } from "./words.js";

let bridge = null;

/** Called once, by the component that holds the explorer. */
export function connect({ element, props, trigger, watch, channels, words }) {
  bridge = new Bridge(element, trigger, channels, words);
  document.addEventListener("click", takeOneClick, true);
  nameExamples();
  new MutationObserver(nameExamples).observe(document.body, { childList: true, subtree: true });
  const show = () => props.value && bridge.show(props.value);
  watch("value", show);
  show();
}

/** Gradio's buttons with pictures have no names; each gets that of its file. */
function nameExamples() {
  for (const button of document.querySelectorAll(".gallery-item:not([aria-label])")) {
    const file = button.querySelector("img")?.src.split("/").pop();
    if (file) button.setAttribute("aria-label", decodeURIComponent(file).replace(/\.\w+$/, "").replaceAll("-", " "));
  }
}

/** Called by a component for answers, with its value. */
export function answered(channel, value) {
  bridge?.answer(channel, value);
}

/** Called when an event of the server failed; its toast says why. */
export function failed(channel) {
  bridge?.fail(channel);
}

/*
 * A result belongs to the photo and the checkpoint that were there when Run was pressed. Once one
 * of them changes it is greyed, and stays so until a result for the present pair has come.
 */
const page = document.body.dataset;
let changes = 0;
let asked = 0;

/** Run was pressed. */
export function running() {
  asked = changes;
  bridge?.explorer.setState("busy");
}

/** The photo or the checkpoint changed. */
export function outdated() {
  changes += 1;
  delete page.running;
  if (!bridge?.explorer.data) return;
  page.old = "yes";
  bridge.explorer.root.dataset.old = say(bridge.words, "state.old");
}

/** Run was answered. */
export function fresh() {
  if (asked !== changes) return;
  delete page.old;
  if (bridge) delete bridge.explorer.root.dataset.old;
}

/** Run has ended, also where it failed: then what was there stays. */
export function ended() {
  delete page.running;
  bridge?.ended();
}

/** Of a double click on Run, Gradio would take the second before it knows of the first. */
function takeOneClick(click) {
  if (!click.target.closest("#run")) return;
  if (page.running) click.stopImmediatePropagation();
  page.running = "yes";
}

class Bridge {
  constructor(element, trigger, channels, words) {
    this.trigger = trigger;
    this.words = words;
    this.count = 0;
    this.waiting = Object.fromEntries(channels.map((channel) => [channel, new Map()]));
    this.explorer = mount(element.querySelector(".explorer-host"), null, {
      words,
      loadLayer: (layer) => this.ask("layer", { layer }),
      loadPatch: (layer, row, column) => this.ask("layer", { layer, row, column }),
      loadView: (view, classes) => this.ask("view", { view, ...classes }),
      loadLens: () => this.ask("lens", { automatic: true }),
      testMap: (view, automatic) => this.ask("test", { view, automatic }),
      saveSlide: (content) => this.ask("slide", content),
      change: (state, data) => this.mark(state, data),
    });
  }

  /** The answer of the server, or null where it refused or failed. */
  ask(channel, content) {
    const waiting = this.waiting[channel];
    if (channel === "view") this.fail(channel, undefined); // Only the latest choice is waited for.
    return new Promise((resolve) => {
      this.count += 1;
      waiting.set(this.count, resolve);
      this.trigger(channel, { ...content, id: this.count });
    });
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

  async show(data) {
    for (const channel of Object.keys(this.waiting)) this.fail(channel);
    const names = document.querySelector("#names .names-host");
    const choose = (index, compare) => (compare ? this.explorer.compare(index) : this.explorer.explain(index));
    names?.replaceChildren(...predictionBars(data.predictions, this.words, choose));
    await this.explorer.update({ ...data, words: this.words });
  }

  mark(state, data) {
    const names = document.querySelector("#names .names-host");
    if (names) markClasses(names, choices.explained(state, data), state.versus);
  }

  ended() {
    const { explorer } = this;
    if (explorer.root.dataset.state === "busy" && !explorer.loading) {
      explorer.setState(explorer.data ? "ready" : "error");
    }
  }
}
