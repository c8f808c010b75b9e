/** The likeliest classes as bars, for pages that have no component of their own for them. */

import { element } from "./dom.js";
import { percent, say } from "./words.js";

export function predictionBars(predictions, words) {
  const rows = predictions.map(({ label, probability }, rank) =>
    element(
      "li",
      { "data-first": rank === 0 ? "" : null },
      element("span", { class: "label", dir: "auto" }, label),
      element("span", { class: "probability" }, percent(probability)),
      element("span", { class: "track", style: `--share: ${probability}` }),
    ),
  );
  return [element("h3", {}, say(words, "predictions.title")), element("ol", { class: "predictions" }, ...rows)];
}
