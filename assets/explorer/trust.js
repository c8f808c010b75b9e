/** What the quick faithfulness test says: a chip, and its curves beside those of noise. */

import { element, shape } from "./dom.js";
import { say } from "./words.js";

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

/** `trust` is {better, all, curves: [{map, noise}]}, or null before the test has run. */
export function trustPanel(trust, words) {
  if (!trust) return [element("p", { class: "quiet" }, say(words, "trust.waiting"))];
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
  ];
}
