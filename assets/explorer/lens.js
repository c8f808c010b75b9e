/** The depth lens: the probability of the top classes when the head reads every layer. */

import { floatsOf } from "./decode.js";
import { element, shape, write } from "./dom.js";
import { percent, say, text } from "./words.js";

const SHOWN = 5;
const STEP = 100;
const HEIGHT = 100;

/** {index: probabilities after each layer} of the classes in `lens`. */
export function lensRows(lens) {
  const numbers = floatsOf(lens.bytes);
  const count = lens.layers.length;
  return new Map(lens.classes.map((index, row) => [index, numbers.subarray(row * count, (row + 1) * count)]));
}

/** The points of one line, each in the middle of its layer's column of the wall. */
export function lensLine(layers, values) {
  const points = layers.map((layer, i) => `${(layer - 0.5) * STEP},${((1 - values[i]) * HEIGHT).toFixed(1)}`);
  // A line with a single point needs two ends to be drawn as a dot.
  return (points.length === 1 ? [...points, ...points] : points).join(" ");
}

/** The drawn classes: the explained one first, then the top ones. */
export function lensClasses(lens, explained) {
  const others = lens.classes.slice(0, SHOWN).filter((index) => index !== explained);
  return lens.classes.includes(explained) ? [explained, ...others] : others;
}

export class Lens {
  constructor() {
    this.heading = element("h3");
    this.chart = shape("svg", { preserveAspectRatio: "none", role: "img" });
    this.legend = element("ul", { class: "lens-legend" });
    this.note = element("p", { class: "quiet" });
    this.scale = element("div", { class: "lens-scale", "aria-hidden": "true" }, element("span", {}, "100 %"), element("span", {}, "0 %"));
    this.plot = element("div", { class: "lens-plot" }, this.scale, this.chart);
    this.node = element("section", { class: "lens" }, this.heading, this.plot, this.legend, this.note);
    this.node.hidden = true;
  }

  /** `lens` is lens_data, {to_come}, {reason}, or nothing. */
  set(lens) {
    this.lens = lens?.bytes ? lens : null;
    this.rows = this.lens && lensRows(this.lens);
    this.reason = lens?.reason ?? null;
    this.key = null;
    this.node.hidden = !this.lens && !this.reason;
    this.node.toggleAttribute("data-none", !this.lens);
  }

  draw({ data, words, explained, layer }) {
    if (this.node.hidden) return;
    const key = `${explained} ${layer} ${data.run} ${words["lens.title"]}`;
    if (this.key === key) return;
    this.key = key;
    write(this.heading, say(words, "lens.title"));
    if (!this.lens) {
      write(this.note, text(words, this.reason));
      return;
    }
    const { lens } = this;
    const names = new Map(data.classes.map(({ index, label }) => [index, label]));
    const drawn = lensClasses(lens, explained);
    this.chart.setAttribute("viewBox", `0 0 ${data.layers * STEP} ${HEIGHT}`);
    this.plot.style.setProperty("--layers", data.layers);
    const lines = drawn.map((index, i) =>
      shape(
        "polyline",
        { points: lensLine(lens.layers, this.rows.get(index)), class: index === explained ? "explained" : `other other-${i}` },
        shape("title", {}, names.get(index)),
      ),
    );
    this.chart.replaceChildren(...this.columns(layer, data), ...lines.reverse());
    this.chart.setAttribute("aria-label", this.described(words, drawn[0], names.get(drawn[0])));
    this.legend.replaceChildren(...drawn.map((index, i) => this.entry(words, index, i, explained, names, layer)));
    const fixed = lens.depends.some((depends) => !depends) || lens.layers.length < data.layers;
    write(this.note, say(words, fixed ? "lens.note.grey" : "lens.note", { examples: lens.examples }));
  }

  columns(layer, data) {
    const { lens } = this;
    const grey = lens.layers
      .filter((_, i) => !lens.depends[i])
      .map((number) => shape("rect", { class: "fixed", x: (number - 1) * STEP, y: 0, width: STEP, height: HEIGHT }));
    const unread = Array.from({ length: data.layers }, (_, i) => i + 1)
      .filter((number) => !lens.layers.includes(number))
      .map((number) => shape("rect", { class: "fixed", x: (number - 1) * STEP, y: 0, width: STEP, height: HEIGHT }));
    const x = (layer - 0.5) * STEP;
    const marker = shape("line", { class: "chosen", x1: x, x2: x, y1: 0, y2: HEIGHT });
    return [...grey, ...unread, marker];
  }

  entry(words, index, i, explained, names, layer) {
    const place = this.lens.layers.indexOf(layer);
    const value = place < 0 ? "" : percent(this.rows.get(index)[place]);
    return element(
      "li",
      { class: index === explained ? "explained" : `other other-${i}` },
      element("span", { class: "stroke", "aria-hidden": "true" }),
      element("span", { dir: "auto" }, names.get(index)),
      element("span", { class: "probability" }, value),
    );
  }

  /** A text description of the line, for a screen reader. */
  described(words, index, label) {
    const { lens } = this;
    const steps = lens.layers.map((layer, i) =>
      say(words, lens.depends[i] ? "lens.step" : "lens.step.fixed", { layer, value: percent(this.rows.get(index)[i]) }),
    );
    return say(words, "lens.describe", { label, steps: steps.join(say(words, "list.separator")) });
  }
}
