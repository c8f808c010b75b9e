/** Positions of photo, grid and patches on a canvas. Boxes are {x, y, width, height} in pixels. */

/**
 * Place a picture so that its grid fills the stage; with `whole`, show the complete picture.
 * `shown` has the `aspect` of the picture, and `grid` and `input` as shares of its sides.
 */
export function place(shown, width, height, margin, whole = false) {
  const [left, top, right, bottom] = whole ? [0, 0, 1, 1] : shown.grid;
  const across = (right - left) * shown.aspect;
  const zoom = Math.min((width - 2 * margin) / across, (height - 2 * margin) / (bottom - top));
  const photo = {
    x: width / 2 - ((left + right) / 2) * shown.aspect * zoom,
    y: height / 2 - ((top + bottom) / 2) * zoom,
    width: shown.aspect * zoom,
    height: zoom,
  };
  return { photo, grid: inside(photo, shown.grid), input: inside(photo, shown.input) };
}

function inside(photo, [left, top, right, bottom]) {
  return {
    x: photo.x + left * photo.width,
    y: photo.y + top * photo.height,
    width: (right - left) * photo.width,
    height: (bottom - top) * photo.height,
  };
}

export function patchBox(grid, [rows, cols], [row, col]) {
  const width = grid.width / cols;
  const height = grid.height / rows;
  return { x: grid.x + col * width, y: grid.y + row * height, width, height };
}

/** The patch at a point, as [row, col] from 0; null outside the grid. */
export function patchAt(grid, [rows, cols], x, y) {
  const row = Math.floor(((y - grid.y) / grid.height) * rows);
  const col = Math.floor(((x - grid.x) / grid.width) * cols);
  return row >= 0 && row < rows && col >= 0 && col < cols ? [row, col] : null;
}

// Room for the number below each token, as a share of the token's side.
const NUMBER = 0.36;
const SPREAD = 0.14;

/** Lay out the tokens of a sequence in rows that fill a box, as large as possible. */
export function placeSequence(count, width, height, margin) {
  const across = width - 2 * margin;
  const down = height - 2 * margin;
  let best = { side: 0 };
  for (let cols = 1; cols <= count; cols++) {
    const rows = Math.ceil(count / cols);
    const side = Math.min(across / (cols * (1 + SPREAD)), down / (rows * (1 + NUMBER + SPREAD)));
    if (side > best.side) best = { side, cols, rows };
  }
  const { side, cols, rows } = best;
  const step = { x: side * (1 + SPREAD), y: side * (1 + NUMBER + SPREAD) };
  const left = (width - cols * step.x + side * SPREAD) / 2;
  const top = (height - rows * step.y + side * SPREAD) / 2;
  return { count, side, cols, step, left, top };
}

/** The box of a token; tokens are counted from 0. */
export function tokenBox(sequence, token) {
  const { side, cols, step, left, top } = sequence;
  return { x: left + (token % cols) * step.x, y: top + Math.floor(token / cols) * step.y, width: side, height: side };
}

/** The token at a point; null between or outside tokens. */
export function tokenAt(sequence, x, y) {
  const col = Math.floor((x - sequence.left) / sequence.step.x);
  const row = Math.floor((y - sequence.top) / sequence.step.y);
  const token = row * sequence.cols + col;
  return row >= 0 && col >= 0 && col < sequence.cols && token < sequence.count ? token : null;
}

export function common(one, other) {
  const x = Math.max(one.x, other.x);
  const y = Math.max(one.y, other.y);
  return {
    x,
    y,
    width: Math.max(0, Math.min(one.x + one.width, other.x + other.width) - x),
    height: Math.max(0, Math.min(one.y + one.height, other.y + other.height) - y),
  };
}
