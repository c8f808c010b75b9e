/** The top classes as bars, for pages that have no other component for them. */

import { element } from "./dom.js";
import { number, percent, say } from "./words.js";

/** `choose(index, compare)` is called for a click on a class; with the shift key `compare` is true. */
export function predictionBars(predictions, words, choose = null) {
  const rows = predictions.map(({ index, label, probability, value }, rank) => {
    // A regression output is a number, not a probability, so it has no bar.
    const content =
      probability === null
        ? [
            element("span", { class: "label", dir: "auto" }, label),
            element("span", { class: "probability" }, number(value)),
          ]
        : [
            element("span", { class: "label", dir: "auto" }, label),
            element("span", { class: "probability" }, percent(probability)),
            element("span", { class: "track", style: `--share: ${probability}` }),
          ];
    const click = (press) => choose(index, press.shiftKey);
    const row = choose
      ? element("button", { type: "button", "data-class": index, "aria-pressed": "false", onclick: click }, ...content)
      : element("span", { class: "bar-row" }, ...content);
    return element("li", { "data-first": rank === 0 ? "" : null }, row);
  });
  const hint = choose ? [element("p", { class: "quiet" }, say(words, "predictions.hint"))] : [];
  return [
    element("h3", {}, say(words, "predictions.title")),
    element("ol", { class: "predictions" }, ...rows),
    ...hint,
  ];
}

/** Mark the explained class, and the one that it is compared with. */
export function markClasses(node, explained, versus) {
  for (const row of node.querySelectorAll("[data-class]")) {
    const index = Number(row.dataset.class);
    const role = index === explained ? "target" : index === versus ? "versus" : "";
    row.dataset.role = role;
    row.setAttribute("aria-pressed", String(Boolean(role)));
  }
}
