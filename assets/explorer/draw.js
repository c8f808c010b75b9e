/** Drawing on a 2D context; everything that is drawn is an argument. */

import { common, tokenBox } from "./geometry.js";

export const STAGE = "#0b0d12";
const UNSEEN = "rgb(8 10 14 / 0.72)";
const BELOW_MAP = "rgb(8 10 14 / 0.36)";
const TOKEN = "#ffb27a";
// Minimum token sizes, in CSS pixels, at which their numbers are legible.
const LEAST_NUMBERED = 16;
const FRAME = "rgb(255 255 255 / 0.28)";

function covers(context, box) {
  context.drawImage(box.image, box.x, box.y, box.width, box.height);
}

/** The dark stage, the photo, and a shadow over the parts outside the model input. */
export function drawPhoto(context, photo, layout, size) {
  context.fillStyle = STAGE;
  context.fillRect(0, 0, size.width, size.height);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  covers(context, { image: photo, ...layout.photo });
  const lit = common(layout.grid, layout.input);
  context.fillStyle = UNSEEN;
  context.beginPath();
  context.rect(0, 0, size.width, size.height);
  context.rect(lit.x, lit.y, lit.width, lit.height);
  context.fill("evenodd");
}

/** Dim the photo under a map. */
export function drawShade(context, layout) {
  const lit = common(layout.grid, layout.input);
  context.fillStyle = BELOW_MAP;
  context.fillRect(lit.x, lit.y, lit.width, lit.height);
  context.strokeStyle = FRAME;
  context.lineWidth = 1;
  context.strokeRect(lit.x - 0.5, lit.y - 0.5, lit.width + 1, lit.height + 1);
}

/** The pixels of the model input, with gaps between the patches. */
export function drawPatches(context, picture, layout, grid) {
  const lit = common(layout.grid, layout.input);
  context.save();
  context.beginPath();
  context.rect(lit.x, lit.y, lit.width, lit.height);
  context.clip();
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  covers(context, { image: picture, ...layout.input });
  drawGrid(context, layout.grid, grid, STAGE, 0.085);
  context.restore();
}

/** The pixels of a patch in the picture; fewer, or none, where the input is padded. */
export function patchPixels(picture, cell, [row, col]) {
  const x = col * cell.width;
  const y = row * cell.height;
  const width = Math.min(cell.width, picture.naturalWidth - x);
  const height = Math.min(cell.height, picture.naturalHeight - y);
  return width > 0 && height > 0 ? { x, y, width, height } : null;
}

/** All tokens in sequence: prefix tokens by name, patches by number. */
export function drawSequence(context, picture, sequence, { grid, cell, names, ratio }) {
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const numbered = sequence.side >= LEAST_NUMBERED * ratio;
  for (let token = 0; token < sequence.count; token++) {
    const box = tokenBox(sequence, token);
    const number = token - names.length;
    if (number < 0) drawNamed(context, box, names[token]);
    else {
      const place = [Math.floor(number / grid[1]), number % grid[1]];
      const from = patchPixels(picture, cell, place);
      if (from) context.drawImage(picture, from.x, from.y, from.width, from.height, box.x, box.y, box.width, box.height);
      if (numbered) drawNumber(context, box, String(number + 1), sequence.step.y - box.height);
    }
  }
}

function drawNamed(context, box, name) {
  context.fillStyle = TOKEN;
  context.fillRect(box.x, box.y, box.width, box.height);
  context.fillStyle = "#0b0d12";
  context.font = `700 ${Math.max(1, (1.5 * box.width) / Math.max(3, name.length))}px system-ui, sans-serif`;
  context.fillText(name, box.x + box.width / 2, box.y + box.height / 2, box.width);
}

function drawNumber(context, box, number, room) {
  context.fillStyle = "rgb(255 255 255 / 0.78)";
  context.font = `${0.72 * room}px system-ui, sans-serif`;
  context.fillText(number, box.x + box.width / 2, box.y + box.height + room / 2);
}

/** Lines between patches; `share` is the line width as a share of a patch. */
export function drawGrid(context, box, [rows, cols], colour, share) {
  const width = Math.max(1, Math.round((box.width / cols) * share));
  context.fillStyle = colour;
  for (let col = 0; col <= cols; col++) {
    const x = Math.round(box.x + (col * box.width) / cols - width / 2);
    context.fillRect(x, box.y, width, box.height);
  }
  for (let row = 0; row <= rows; row++) {
    const y = Math.round(box.y + (row * box.height) / rows - width / 2);
    context.fillRect(box.x, y, box.width, width);
  }
}

/** A canvas with one pixel per patch. */
export function patchCanvas(pixels, [rows, cols]) {
  const canvas = document.createElement("canvas");
  canvas.width = cols;
  canvas.height = rows;
  canvas.getContext("2d").putImageData(new ImageData(pixels, cols, rows), 0, 0);
  return canvas;
}

/** A map over the photo, clipped to the model input. */
export function drawOverlay(context, map, layout, smooth = false) {
  const lit = common(layout.grid, layout.input);
  context.save();
  context.beginPath();
  context.rect(lit.x, lit.y, lit.width, lit.height);
  context.clip();
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = "high";
  covers(context, { image: map, ...layout.grid });
  context.restore();
}

/** A ring around one box. */
export function drawMark(context, box, { colour, ratio }) {
  const line = 2 * ratio;
  context.lineJoin = "round";
  context.strokeStyle = "rgb(0 0 0 / 0.55)";
  context.lineWidth = line + 2 * ratio;
  context.strokeRect(box.x, box.y, box.width, box.height);
  context.strokeStyle = colour;
  context.lineWidth = line;
  context.strokeRect(box.x, box.y, box.width, box.height);
}

/** The pixels of one patch, enlarged. Padding has no pixels to draw. */
export function drawPatch(context, picture, cell, patch, side) {
  context.fillStyle = STAGE;
  context.fillRect(0, 0, side, side);
  context.imageSmoothingEnabled = false;
  const from = patchPixels(picture, cell, patch);
  if (!from) return;
  const drawn = [(side * from.width) / cell.width, (side * from.height) / cell.height];
  context.drawImage(picture, from.x, from.y, from.width, from.height, 0, 0, ...drawn);
}
