/** The patch card: an enlargement of the followed patch, and its values. */

import { drawPatch } from "./draw.js";
import { element, write } from "./dom.js";
import { largest } from "./maps.js";
import { cellOf } from "./pane.js";
import { formatOf, percent, say, text } from "./words.js";

const SIDE = 88;
const PLACES = 2;

export class Card {
  constructor() {
    this.canvas = element("canvas", { "aria-hidden": "true", width: SIDE, height: SIDE });
    this.title = element("h3");
    this.lines = Array.from({ length: 5 }, () => element("p"));
    this.node = element(
      "section",
      { class: "box card" },
      this.canvas,
      element("div", {}, this.title, ...this.lines),
    );
  }

  draw(content) {
    const { data, words, picture, patch } = content;
    this.node.toggleAttribute("data-empty", !patch);
    if (!patch) {
      this.write(say(words, "card.empty.title"), [say(words, "card.empty")]);
      return;
    }
    drawPatch(this.canvas.getContext("2d"), picture, cellOf(data, picture), patch, SIDE);
    this.write(title(data, words, patch), sentences(content));
  }

  write(heading, sentences) {
    write(this.title, heading);
    this.lines.forEach((line, i) => {
      write(line, sentences[i] ?? "");
      line.hidden = sentences[i] === undefined;
    });
  }
}

/** Its position in the sequence; token 0 is the class token, if there is one. */
export function title(data, words, [row, col]) {
  const number = row * data.grid[1] + col;
  const parameters = {
    row,
    col,
    token: data.prefix + number,
    tokens: data.tokens,
    number: number + 1,
    patches: data.grid[0] * data.grid[1],
  };
  return say(words, data.prefix ? "card.title" : "card.title.plain", parameters);
}

function sentences({ data, words, maps, state, patch, headName, shown }) {
  const number = maps.number(patch);
  const place = { layer: state.layer, head: headName(state.head, state.layer) };
  const found = [];
  if (shown) {
    const format = formatOf(shown.view);
    found.push(say(words, "card.value", { view: text(words, shown.view.label), value: format(shown.map.values[number]) }));
  }
  const read = maps.attention(state.layer, state.head);
  if (read && shown?.view.kind !== "attention") {
    const key = data.rows.reader === "reader.class" ? "card.read" : "card.read.read_out";
    found.push(say(words, key, { ...place, value: percent(read.values[number]) }));
  }
  const looks = maps.looks(state.layer, state.head, patch);
  if (looks) {
    const places = largest(looks.values, PLACES).map((other) => named(other, looks.values[other], number, data, words));
    found.push(say(words, "card.looks_at", { ...place, places: places.join(say(words, "list.separator")) }));
  }
  const alike = data.views.find((view) => view.name === "looks_like" && view.bytes !== undefined);
  if (alike) {
    // In some models all cosines are close to 1, so rank them instead of using a threshold.
    const { values } = maps.pair(alike, patch);
    const places = largest(values, PLACES + 1)
      .filter((other) => other !== number)
      .slice(0, PLACES)
      .map((other) => placeOf(other, values[other].toFixed(3), data, words));
    found.push(say(words, "card.looks_like", { places: places.join(say(words, "list.separator")) }));
  }
  return found;
}

function named(other, value, number, data, words) {
  if (other === number) return say(words, "card.itself", { value: percent(value) });
  return placeOf(other, percent(value), data, words);
}

function placeOf(number, value, data, words) {
  const cols = data.grid[1];
  return say(words, "card.place", { row: Math.floor(number / cols), col: number % cols, value });
}
