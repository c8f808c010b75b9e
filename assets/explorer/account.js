/** The decomposition of a class's logit: one bar per part, and their sum. */

import { element } from "./dom.js";
import { say, text } from "./words.js";

/** A number with two decimals and a sign, with a true minus. */
export function signed(value) {
  const digits = Math.abs(value).toFixed(2);
  if (Number(digits) === 0) return digits;
  return `${value < 0 ? "\u2212" : "+"}${digits}`;
}

/** Start and length of each bar as shares of the width; all bars share one zero. */
export function bars(values) {
  const low = Math.min(0, ...values);
  const spread = Math.max(0, ...values) - low || 1;
  return values.map((value) => ({
    left: (Math.min(0, value) - low) / spread,
    width: Math.abs(value) / spread,
  }));
}

function row(name, value, bar, last) {
  const { left, width } = bar;
  const style = `--left: ${left.toFixed(4)}; --width: ${width.toFixed(4)}`;
  return element(
    "tr",
    { "data-sign": value < 0 ? "minus" : "plus", "data-sum": last ? "" : null },
    element("th", { scope: "row" }, name),
    element("td", { class: "bar-cell", "aria-hidden": "true" }, element("span", { class: "bar", style })),
    element("td", {}, signed(value)),
  );
}

export function accountPanel(account, words) {
  const values = [...account.parts.map(({ value }) => value), account.total];
  const placed = bars(values);
  return [
    element("h3", {}, say(words, "account.title")),
    element(
      "table",
      {},
      ...account.parts.map(({ label, value }, i) => row(text(words, label), value, placed[i], false)),
      row(say(words, "account.total"), account.total, placed.at(-1), true),
    ),
    element("p", { class: "quiet" }, say(words, account.sum.key, { ...account.sum.parameters, logit: signed(account.logit) })),
    element("p", { class: "quiet" }, say(words, "account.caveat")),
  ];
}
