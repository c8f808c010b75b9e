/**
 * The explorer on the Gradio page.
 *
 * Gradio's HTML component gives a script `trigger`, which starts an event of the server, and the
 * server answers by setting the value of another component. Every request has a number, and the
 * answer repeats it.
 */

import { mount } from "./explorer.js";
import { chooseLanguage, firstLanguage } from "./language.js";
import { markClasses, predictionBars } from "./predictions.js";
import * as choices from "./state.js";
import { say } from "./words.js";

let bridge = null;
let head = null;
let language = firstLanguage();
showLanguage();

/** Called once, by the component that holds the explorer. */
export function connect({ element, props, trigger, watch, channels, tables }) {
  bridge = new Bridge(element, trigger, channels, tables);
  document.addEventListener("click", takeOneClick, true);
  const show = () => props.value && bridge.show(props.value);
  watch("value", show);
  show();
}

/** Called once, by the component with the title and the languages. */
export function masthead({ element, trigger }) {
  head = { element, notice: (key) => trigger("notice", { key }) };
  element.addEventListener("click", (click) => {
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

/** What the server learns about a visitor who has just come, as JSON. */
export function arrive() {
  return JSON.stringify({ language });
}

/** The style shows the text of this language and hides the others. */
function showLanguage() {
  document.documentElement.lang = language;
  document.body.dataset.language = language;
  for (const button of head?.element.querySelectorAll("button[data-language]") ?? []) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
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
  bridge.markOld();
}

/** Run was answered. */
export function fresh() {
  if (asked !== changes) return;
  delete page.old;
  bridge?.markOld();
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
  constructor(element, trigger, channels, tables) {
    this.trigger = trigger;
    this.tables = tables;
    this.count = 0;
    this.waiting = Object.fromEntries(channels.map((channel) => [channel, new Map()]));
    this.explorer = mount(element.querySelector(".explorer-host"), null, {
      words: this.words,
      loadLayer: (layer) => this.ask("layer", { layer }),
      loadPatch: (layer, row, column) => this.ask("layer", { layer, row, column }),
      loadView: (view, classes) => this.ask("view", { view, ...classes }),
      testMap: (view) => this.ask("test", { view }),
      saveSlide: (content) => this.ask("slide", content),
      change: (state, data) => this.mark(state, data),
    });
  }

  get words() {
    return this.tables[language];
  }

  /** Another language: nothing is asked from the server. */
  speak() {
    this.explorer.setWords(this.words);
    this.markOld();
    if (!this.explorer.data) return;
    this.showNames(this.explorer.data);
    this.mark(this.explorer.state, this.explorer.data);
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
    this.showNames(data);
    await this.explorer.update({ ...data, words: this.words });
  }

  showNames(data) {
    const names = document.querySelector("#names .names-host");
    const choose = (index, compare) => (compare ? this.explorer.compare(index) : this.explorer.explain(index));
    names?.replaceChildren(...predictionBars(data.predictions, this.words, choose));
  }

  mark(state, data) {
    const names = document.querySelector("#names .names-host");
    if (names) markClasses(names, choices.explained(state, data), state.versus);
  }

  /** Say on the result that it belongs to another photo or checkpoint, or that it does not. */
  markOld() {
    const { root } = this.explorer;
    if (page.old) root.dataset.old = say(this.words, "state.old");
    else delete root.dataset.old;
  }

  ended() {
    const { explorer } = this;
    if (explorer.root.dataset.state === "busy" && !explorer.loading) {
      explorer.setState(explorer.data ? "ready" : "error");
    }
  }
}
