/** What the quick faithfulness test says: a chip, and its curves beside those of noise. */

import { element, shape } from "./dom.js";
import { say, text } from "./words.js";

const WIDTH = 140;
const HEIGHT = 52;

/** Points of a curve, [x, y] from 0 to 1, as an SVG polyline's. */
export function polyline(points) {
  return points.map(([x, y]) => `${(x * WIDTH).toFixed(1)},${((1 - y) * HEIGHT).toFixed(1)}`).join(" ");
}

function chart(curve) {
  return shape(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", preserveAspectRatio: "none" },
    shape("polyline", { class: "noise", points: polyline(curve.noise) }),
    shape("polyline", { class: "map", points: polyline(curve.map) }),
  );
}

function figureRow(figure, words) {
  return element(
    "tr",
    { "data-better": figure.better },
    element("th", { scope: "row", title: text(words, figure.hint) }, figure.name),
    element("td", {}, figure.map),
    element("td", {}, say(words, "trust.noise", { value: figure.noise })),
    element("td", {}, figure.better ? "✓" : "✕"),
  );
}

/**
 * `trust` is {better, all, curves: [{map, noise}], figures, protocol}, or null before the test has
 * run. `test` starts it; without it there is no button.
 */
export function trustPanel(trust, words, { test = null, running = false, disabled = "" } = {}) {
  if (!trust) {
    if (!test) return [element("p", { class: "quiet" }, say(words, "trust.waiting"))];
    if (disabled) return [element("p", { class: "quiet" }, disabled)];
    const name = say(words, running ? "trust.running" : "trust.test");
    const button = element("button", { type: "button", class: "action", "data-control": "test", onclick: test }, name);
    button.disabled = running;
    return [button];
  }
  const good = trust.better > 0;
  const chip = element(
    "p",
    { class: "chip", "data-good": good },
    element("span", { "aria-hidden": "true" }, good ? "✓ " : "✕ "),
    say(words, good ? "trust.better" : "trust.none", trust),
  );
  const curves = (trust.curves ?? []).map(chart);
  if (!curves.length) return [chip];
  return [
    chip,
    element("div", { class: "curves" }, ...curves),
    element("p", { class: "quiet" }, say(words, "trust.curves")),
    ...(trust.figures ? [element("table", {}, ...trust.figures.map((figure) => figureRow(figure, words)))] : []),
    ...(trust.protocol ?? []).map((sentence) => element("p", { class: "quiet" }, text(words, sentence))),
  ];
}
