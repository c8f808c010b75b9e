/** Where photo, grid and patches lie on a canvas. All boxes are {x, y, width, height} in its pixels. */

/**
 * Place a picture so that its grid fills the stage, or, with `whole`, all of the picture.
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

/** The patch at a point, as [row, col] from 0; null off the grid. */
export function patchAt(grid, [rows, cols], x, y) {
  const row = Math.floor(((y - grid.y) / grid.height) * rows);
  const col = Math.floor(((x - grid.x) / grid.width) * cols);
  return row >= 0 && row < rows && col >= 0 && col < cols ? [row, col] : null;
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
