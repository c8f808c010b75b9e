/** The wall: one column per layer, one row per head, the mean last. Each cell is a button. */

import { solidPixels } from "./colour.js";
import { element } from "./dom.js";

const STEPS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** Heads in the order of the wall's rows: 1, 2, …, and then 0, their mean. */
export function headOrder(data) {
  const most = Math.max(...data.heads);
  return [...Array.from({ length: most }, (_, i) => i + 1), 0];
}

export class Wall {
  /** `choose(layer, head)` handles a click; `name(layer, head)` returns a cell's name. */
  constructor(choose, name) {
    this.choose = choose;
    this.name = name;
    this.cells = new Map();
    this.node = element("div", { class: "wall-cells", role: "group" });
    this.node.addEventListener("click", (click) => {
      const cell = click.target.closest("[data-cell]");
      if (cell) this.choose(...this.place(cell));
    });
    this.node.addEventListener("keydown", (press) => this.step(press));
  }

  place(cell) {
    return cell.dataset.cell.split(",").map(Number);
  }

  /** A single tab stop; arrow keys move between cells. */
  step(press) {
    const cell = press.target.closest("[data-cell]");
    const move = STEPS[press.key];
    if (!cell || !move || press.ctrlKey || press.metaKey || press.altKey) return;
    press.preventDefault();
    press.stopPropagation();
    const [layer, head] = this.place(cell);
    const order = this.order;
    const row = Math.min(order.length - 1, Math.max(0, order.indexOf(head) + move[1]));
    const next = this.cells.get(`${layer + move[0]},${order[row]}`);
    if (!next) return;
    this.choose(...this.place(next));
    next.focus();
  }

  build(data, heading, headName) {
    this.data = data;
    this.order = headOrder(data);
    this.cells.clear();
    this.node.style.setProperty("--layers", data.layers);
    this.node.style.setProperty("--heads", this.order.length);
    const children = [element("span", { class: "corner" })];
    for (let layer = 1; layer <= data.layers; layer++) {
      children.push(element("span", { class: "column", "aria-hidden": "true" }, String(layer)));
    }
    for (const head of this.order) {
      children.push(element("span", { class: "row", "aria-hidden": "true" }, headName(head)));
      for (let layer = 1; layer <= data.layers; layer++) children.push(this.cell(layer, head));
    }
    this.node.replaceChildren(...children);
    this.node.setAttribute("aria-label", heading);
  }

  cell(layer, head) {
    if (head > this.data.heads[layer - 1]) return element("span");
    const canvas = element("canvas", { "aria-hidden": "true" });
    [canvas.height, canvas.width] = this.data.grid;
    const cell = element("button", { type: "button", "data-cell": `${layer},${head}`, tabindex: "-1" }, canvas);
    this.cells.set(`${layer},${head}`, cell);
    this.label(cell);
    return cell;
  }

  label(cell) {
    const name = this.name(...this.place(cell));
    cell.setAttribute("aria-label", name);
    cell.title = name;
  }

  /** Draw the cells with loaded values; `layer` restricts it to one column. */
  draw(maps, table, layer = null) {
    for (const cell of this.cells.values()) {
      const [own, head] = this.place(cell);
      if (layer !== null && own !== layer) continue;
      const map = maps.attention(own, head);
      cell.toggleAttribute("data-missing", !map);
      if (!map) continue;
      const canvas = cell.firstChild;
      const pixels = solidPixels(map.values, map.scale, table);
      canvas.getContext("2d").putImageData(new ImageData(pixels, canvas.width, canvas.height), 0, 0);
    }
  }

  select(layer, head) {
    const chosen = this.cells.get(`${layer},${head}`);
    if (this.chosen === chosen) return;
    this.chosen?.setAttribute("tabindex", "-1");
    this.chosen?.removeAttribute("aria-pressed");
    chosen?.setAttribute("tabindex", "0");
    chosen?.setAttribute("aria-pressed", "true");
    this.chosen = chosen;
  }
}
