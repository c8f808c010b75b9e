/** The result of the quick faithfulness test: a chip, and the curves of the map and of noise. */

import { element, shape } from "./dom.js";
import { say, text } from "./words.js";

const WIDTH = 140;
const HEIGHT = 52;

/** Points of a curve, [x, y] from 0 to 1, as points of an SVG polyline. */
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

function testButton(words, test, running, again) {
  const name = say(words, running ? "trust.running" : again ? "trust.again" : "trust.test");
  const button = element("button", { type: "button", class: "action", "data-control": "test", onclick: test }, name);
  button.disabled = running;
  return button;
}

/** The text key of the chip, and whether the result is good: better in most tests. */
export function verdict({ better, all }) {
  if (!better) return { key: "trust.none", good: false };
  return 2 * better > all ? { key: "trust.better", good: true } : { key: "trust.few", good: false };
}

/**
 * `trust` is {better, all, curves: [{map, noise}], figures, protocol, short}, or null before the
 * test has run. `test` starts it; without it there is no button.
 */
export function trustPanel(trust, words, { test = null, running = false, disabled = "" } = {}) {
  if (!trust) {
    if (!test) return [element("p", { class: "quiet" }, say(words, "trust.waiting"))];
    if (disabled) return [element("p", { class: "quiet" }, disabled)];
    return [testButton(words, test, running, false)];
  }
  const { key, good } = verdict(trust);
  const chip = element(
    "p",
    { class: "chip", "data-good": good },
    element("span", { "aria-hidden": "true" }, good ? "✓ " : "✕ "),
    say(words, key, trust),
  );
  const curves = (trust.curves ?? []).map(chart);
  if (!curves.length) return [chip];
  return [
    chip,
    element("div", { class: "curves" }, ...curves),
    element("p", { class: "quiet" }, say(words, "trust.curves")),
    ...(trust.figures ? [element("table", {}, ...trust.figures.map((figure) => figureRow(figure, words)))] : []),
    ...(trust.protocol ?? []).map((sentence) => element("p", { class: "quiet" }, text(words, sentence))),
    ...(trust.short && test ? [testButton(words, test, running, true)] : []),
  ];
}
