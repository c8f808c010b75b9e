/** Texts from the table in the data. */

/** The text of a key, with its {placeholders} filled. An unknown key is shown unchanged. */
export function say(words, key, parameters = {}) {
  const sentence = Object.hasOwn(words, key) ? words[key] : key;
  return sentence.replace(/\{(\w+)\}/g, (whole, name) =>
    Object.hasOwn(parameters, name) ? String(parameters[name]) : whole,
  );
}

/** A text of the data: {key, parameters}. */
export function text(words, content) {
  return say(words, content.key, content.parameters);
}

/** A number with four significant digits and a true minus sign. */
export function number(value) {
  return String(Number(value.toPrecision(4))).replace("-", "\u2212");
}

/** A share as percent, with at least two significant digits and a true minus sign. */
export function percent(value) {
  const size = Math.abs(100 * value);
  const digits = size === 0 ? 0 : size < 0.1 ? 2 : size < 99.95 ? 1 : 0;
  return `${(100 * value).toFixed(digits)} %`.replace("-", "\u2212");
}

/** Formats of a view's values: percent or decimal numbers. */
export function formatOf(view) {
  return view.format === "number" ? decimal : percent;
}

function decimal(value) {
  const size = Math.abs(value);
  return value.toFixed(size === 0 || size >= 0.1 ? 2 : size >= 0.001 ? 3 : 4).replace("-", "\u2212");
}
