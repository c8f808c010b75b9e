/** The values of every view, decoded once and cached. */

import { scaleOf } from "./colour.js";
import { bytesOf, floatsOf, inflate, rowOf } from "./decode.js";

export class Maps {
  constructor(data) {
    this.data = data;
    this.patches = data.grid[0] * data.grid[1];
    this.kept = new Map();
    this.layers = new Map();
    this.single = new Map();
    if (data.rows) {
      this.rows = bytesOf(data.rows.bytes);
      this.scales = floatsOf(data.rows.scales);
    }
  }

  /** Store the rows of one layer; resolves when they can be drawn. */
  async add(layer) {
    const read = { bytes: await inflate(bytesOf(layer.read.bytes)), scales: floatsOf(layer.read.scales) };
    const every = layer.bytes
      ? { bytes: await inflate(bytesOf(layer.bytes)), scales: floatsOf(layer.scales) }
      : null;
    this.layers.set(layer.layer, { read, every });
  }

  /** Store the rows of one patch, for a model with too many tokens for a whole layer. */
  async addPatch(rows) {
    const content = { bytes: await inflate(bytesOf(rows.bytes)), scales: floatsOf(rows.scales) };
    this.single.set(`${rows.layer},${this.number(rows.patch)}`, content);
  }

  /** Delete the decoded values of a view that is replaced. */
  forget(name) {
    for (const kind of ["map", "pairs", "rows", "rgb"]) this.kept.delete(`${kind} ${name}`);
    this.latestPair = null;
    this.latestRow = null;
  }

  has(layer) {
    return this.layers.has(layer);
  }

  hasPatch(layer, patch) {
    return this.single.has(`${layer},${this.number(patch)}`);
  }

  number([row, col]) {
    return row * this.data.grid[1] + col;
  }

  once(key, make) {
    if (!this.kept.has(key)) this.kept.set(key, make());
    return this.kept.get(key);
  }

  /** The attention of the read-out; null until it is loaded. */
  attention(layer, head) {
    if (!this.data.rows) return null;
    const heads = this.data.rows.heads;
    if (head <= heads) {
      const row = (layer - 1) * (heads + 1) + head;
      return this.once(`read ${layer} ${head}`, () => scaled(rowOf(this.rows, this.scales, row, this.patches)));
    }
    const late = this.layers.get(layer)?.read;
    if (!late) return null;
    return this.once(`read ${layer} ${head}`, () => scaled(rowOf(late.bytes, late.scales, head, this.patches)));
  }

  /** The attention of one patch; null until it is loaded. Only the latest map is cached. */
  looks(layer, head, patch) {
    const number = this.number(patch);
    const key = `${layer} ${head} ${number}`;
    if (this.latest?.key === key) return this.latest.map;
    const every = this.layers.get(layer)?.every;
    const single = this.single.get(`${layer},${number}`);
    const [from, row] = every ? [every, head * this.patches + number] : [single, head];
    if (!from) return null;
    const map = scaled(rowOf(from.bytes, from.scales, row, this.patches));
    this.latest = { key, map };
    return map;
  }

  /** One row of a table of all pairs of patches. */
  pair(view, patch) {
    const bytes = this.once(`pairs ${view.name}`, () => bytesOf(view.bytes));
    const key = `${view.name} ${this.number(patch)}`;
    if (this.latestPair?.key === key) return this.latestPair.map;
    const from = this.number(patch) * this.patches;
    const unit = (view.most - view.least) / 255;
    const values = Float32Array.from(
      bytes.subarray(from, from + this.patches),
      (byte) => view.least + byte * unit,
    );
    const map = view.low === undefined ? scaled(values) : { values, scale: view };
    this.latestPair = { key, map };
    return map;
  }

  /** The map of one patch, in a view with one map per patch. */
  row(view, patch) {
    const number = this.number(patch);
    const key = `${view.name} ${number}`;
    if (this.latestRow?.key === key) return this.latestRow.map;
    const from = this.once(`rows ${view.name}`, () => ({ bytes: bytesOf(view.bytes), scales: floatsOf(view.scales) }));
    const map = scaled(rowOf(from.bytes, from.scales, number, this.patches));
    this.latestRow = { key, map };
    return map;
  }

  /** The content of a view: {values, scale}, {rgb}, or null until it is loaded. */
  of(view, state, patch) {
    if (view.to_come) return null;
    switch (view.kind) {
      case "map":
        return this.once(`map ${view.name}`, () => ({ values: floatsOf(view.values), scale: view }));
      case "attention":
        return this.attention(state.layer, state.head);
      case "looks":
        return patch ? this.looks(state.layer, state.head, patch) : null;
      case "pairs":
        return patch ? this.pair(view, patch) : null;
      case "rows":
        return patch ? this.row(view, patch) : null;
      case "rgb":
        return this.once(`rgb ${view.name}`, () => ({ rgb: bytesOf(view.bytes) }));
      default:
        return null;
    }
  }
}

function scaled(values) {
  return { values, scale: scaleOf(values) };
}

/** Indices of the largest values, in descending order. */
export function largest(values, count) {
  return Array.from(values.keys())
    .sort((one, other) => values[other] - values[one])
    .slice(0, count);
}
