/** One pane: a view menu, a canvas, a color bar and a caption. */

import { gradient, overlayPixels, rgbPixels } from "./colour.js";
import { element, fillMenu, write } from "./dom.js";
import * as draw from "./draw.js";
import { patchAt, patchBox, place, placeSequence, tokenAt, tokenBox } from "./geometry.js";
import { inSequence } from "./state.js";
import { formatOf, say, text } from "./words.js";

const MARGIN = 0.03;
const HOVERED = "#ffffff";
const PINNED = "#ff8a3d";

/** Sides of a patch in the picture, which may be smaller than the model input. */
export function cellOf(data, picture) {
  const { width, height } = data.picture;
  return {
    width: (data.cell * picture.naturalWidth) / width,
    height: (data.cell * picture.naturalHeight) / height,
  };
}

export class Pane {
  constructor(name) {
    this.name = name;
    this.heading = element("h2", { id: `explorer-title-${name}` });
    this.menu = element("select", { "data-view-menu": name });
    this.target = element("select", { "data-class-menu": "target" });
    this.versus = element("select", { "data-class-menu": "versus" });
    this.sequence = element("input", { type: "checkbox", "data-control": `sequence-${name}` });
    this.sequenceName = element("span");
    this.sequenceLabel = element("label", { class: "sequence" }, this.sequence, this.sequenceName);
    this.canvas = element("canvas", {
      "data-pane": name,
      tabindex: "0",
      role: "application",
      "aria-describedby": `explorer-caption-${name}`,
    });
    this.bar = element("div", { class: "bar" });
    this.low = element("span");
    this.high = element("span");
    this.legend = element("div", { class: "legend" }, this.bar, element("div", { class: "ticks" }, this.low, this.high));
    this.caption = element("p", { "data-caption": name, id: `explorer-caption-${name}` });
    this.node = element(
      "section",
      { class: "pane", "aria-labelledby": this.heading.id },
      element("header", {}, this.heading, this.sequenceLabel, this.target, this.versus, this.menu),
      element("div", { class: "stage" }, this.canvas),
      element("div", { class: "below" }, this.legend, this.caption),
    );
    this.base = document.createElement("canvas");
  }

  /** Fit the canvas to its box; returns whether the size changed. */
  resize() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const box = this.canvas.getBoundingClientRect();
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (!width || !height || (width === this.canvas.width && height === this.canvas.height)) return false;
    this.canvas.width = width;
    this.canvas.height = height;
    this.ratio = ratio;
    this.baseKey = null;
    return true;
  }

  /** The patch under a pointer event. */
  patchAt(pointer, data) {
    if (!this.layout) return null;
    const box = this.canvas.getBoundingClientRect();
    const x = (pointer.clientX - box.left) * (this.canvas.width / box.width);
    const y = (pointer.clientY - box.top) * (this.canvas.height / box.height);
    if (this.layout.tokens) return this.patchOf(tokenAt(this.layout.tokens, x, y), data);
    return patchAt(this.layout.grid, data.grid, x, y);
  }

  /** The patch of a token; null for prefix tokens. */
  patchOf(token, data) {
    const number = token === null ? -1 : token - data.prefix;
    return number < 0 ? null : [Math.floor(number / data.grid[1]), number % data.grid[1]];
  }

  boxOf([row, col], data) {
    const { tokens, grid } = this.layout;
    return tokens ? tokenBox(tokens, data.prefix + row * data.grid[1] + col) : patchBox(grid, data.grid, [row, col]);
  }

  describe(data, words, view) {
    const rows = data.views.map(({ name, label, reason, by_class, to_come }) => ({
      value: name,
      // The classes have separate menus.
      label: by_class && !to_come ? say(words, `view.${name}`) : text(words, label),
      reason: reason && text(words, reason),
    }));
    fillMenu(this.menu, rows, view.name);
    this.menu.setAttribute("aria-label", say(words, "view.menu", { pane: say(words, `pane.${this.name}`) }));
    for (const name of ["target", "versus"]) {
      this[name].setAttribute("aria-label", say(words, `control.${name}`));
      this[name].title = say(words, `control.${name}`);
    }
    this.classes = null;
    this.relabel(words, view);
  }

  relabel(words, view) {
    this.menu.value = view.name;
    write(this.heading, say(words, `title.${view.by_class ? "class" : view.kind}`));
    this.canvas.setAttribute("aria-label", say(words, "pane.describe", { view: text(words, view.label) }));
  }

  /** Show patches on the photo, or in sequence as the first layer reads them. */
  offerSequence(data, words, view, state) {
    this.sequenceLabel.hidden = view.kind !== "patches" || !data.rows;
    write(this.sequenceName, say(words, "control.sequence"));
    this.sequence.checked = state.sequence;
  }

  /** The menus of the explained and the compared class; only for class-specific maps. */
  offerClasses(data, words, view, state, explained) {
    this.target.hidden = this.versus.hidden = !view.by_class || Boolean(view.reason);
    const chosen = `${explained} ${state.versus}`;
    if (!view.by_class || this.classes === chosen) return;
    this.classes = chosen;
    const rows = data.classes.map(({ index, label }) => ({ value: String(index), label }));
    for (const extra of [explained, state.versus]) {
      if (extra === null || rows.some(({ value }) => value === String(extra))) continue;
      rows.push({ value: String(extra), label: String(extra) });
    }
    fillMenu(this.target, rows, String(explained));
    const against = (label) => say(words, "control.against", { label });
    const none = { value: "", label: against(say(words, "control.nothing")) };
    const others = rows
      .filter(({ value }) => value !== String(explained))
      .map((row) => ({ ...row, label: against(row.label) }));
    fillMenu(this.versus, [none, ...others], state.versus === null ? "" : String(state.versus));
  }

  /** Draw photo, map and marks. `map` is a result of `Maps.of`. */
  draw({ data, state, view, map, images, tables }) {
    const photo = state.whole && images.whole ? "whole" : "crop";
    this.drawBase(data, view, photo, images, state);
    const context = this.canvas.getContext("2d");
    context.drawImage(this.base, 0, 0);
    if (map) draw.drawOverlay(context, this.overlay(map, data, state, tables), this.layout, state.smooth);
    if (state.lines && view.kind !== "patches") {
      draw.drawGrid(context, this.layout.grid, data.grid, "rgb(255 255 255 / 0.35)", 0.03);
    }
    for (const [patch, colour] of [[state.pin, PINNED], [state.hover, HOVERED]]) {
      if (patch) draw.drawMark(context, this.boxOf(patch, data), { colour, ratio: this.ratio });
    }
  }

  /** Draw once what pointer moves do not change. */
  drawBase(data, view, photo, images, state) {
    const patches = view.kind === "patches";
    const kind = patches && inSequence(state, data) ? "sequence" : patches ? "patches" : "shade";
    const { width, height } = this.canvas;
    const key = `${data.run} ${photo} ${kind} ${width} ${height}`;
    if (this.baseKey === key) return;
    this.baseKey = key;
    this.base.width = width;
    this.base.height = height;
    const context = this.base.getContext("2d");
    const margin = MARGIN * Math.min(width, height);
    this.layout = place(data.photo[photo], width, height, margin, state.whole && photo === "whole");
    if (kind === "sequence") {
      this.drawTokens(context, data, images, margin);
      return;
    }
    draw.drawPhoto(context, images[photo], this.layout, this.base);
    if (kind === "patches") draw.drawPatches(context, images.picture, this.layout, data.grid);
    else draw.drawShade(context, this.layout);
  }

  drawTokens(context, data, images, margin) {
    const { width, height } = this.base;
    const tokens = placeSequence(data.tokens, width, height, margin);
    this.layout = { ...this.layout, tokens };
    context.fillStyle = draw.STAGE;
    context.fillRect(0, 0, width, height);
    const cell = cellOf(data, images.picture);
    draw.drawSequence(context, images.picture, tokens, {
      grid: data.grid,
      cell,
      names: data.prefix_names,
      ratio: this.ratio,
    });
  }

  overlay(map, data, state, tables) {
    if (this.drawn?.map === map && this.drawn.opacity === state.opacity) return this.drawn.canvas;
    const pixels = map.rgb
      ? rgbPixels(map.rgb, state.opacity)
      : overlayPixels(map.values, map.scale, tables[map.scale.signed ? "diverging" : "sequential"], state.opacity);
    const canvas = draw.patchCanvas(pixels, data.grid);
    this.drawn = { map, opacity: state.opacity, canvas };
    return canvas;
  }

  /** Update the color bar and the caption. */
  explain({ words, view, map, tables, sentences }) {
    write(this.caption, sentences.join(this.glue(words)));
    const scale = map?.scale;
    this.legend.toggleAttribute("data-none", !scale);
    if (!scale) return;
    const signed = Boolean(scale.signed);
    if (this.barSigned !== signed) {
      this.bar.style.background = gradient(tables[signed ? "diverging" : "sequential"]);
      this.barSigned = signed;
    }
    const format = formatOf(view);
    write(this.low, `${scale.clipped && signed ? "≤ " : ""}${format(scale.low)}`);
    write(this.high, `${scale.clipped ? "≥ " : ""}${format(scale.high)}`);
    const notes = [view.unit, ...(view.note ?? [])].filter(Boolean).map((note) => text(words, note));
    this.legend.title = notes.join(". ");
  }

  glue(words) {
    return /[\u4e00-\u9fff]/.test(words["control.layer"] ?? "") ? "" : " ";
  }
}
