/** Map numbers to colors. The data has the tables: RGB of a color bar, from its low end. */

const PERCENTILE = 0.99;

// Dark colors are slightly opaque too: otherwise a low value would look like no map.
const LEAST = 0.1;

/** The value at a percentile, interpolated linearly between neighbors. */
export function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/** The limits of the color bar of one non-negative row; see ColourScale in figures. */
export function scaleOf(values) {
  let low = Infinity;
  let most = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    most = Math.max(most, value);
  }
  const high = quantile(values, PERCENTILE);
  return { low, high, signed: false, clipped: most > high };
}

/** The position of a value on its color bar, from 0 to 1. */
export function placed(value, scale) {
  const spread = scale.high - scale.low;
  return spread > 0 ? Math.min(1, Math.max(0, (value - scale.low) / spread)) : 0;
}

/** The opacity of a value over the photo, from 0 to 1; transparent for an empty map. */
export function strength(place, signed) {
  return signed ? Math.abs(2 * place - 1) : place;
}

function entryAt(table, place) {
  return Math.round(place * (table.length / 3 - 1)) * 3;
}

export function colourAt(table, place) {
  const entry = entryAt(table, place);
  return [table[entry], table[entry + 1], table[entry + 2]];
}

/** Write one color; allocates nothing, because it runs for every patch on pointer moves. */
function put(pixels, i, table, place, alpha) {
  const entry = entryAt(table, place);
  pixels[4 * i] = table[entry];
  pixels[4 * i + 1] = table[entry + 1];
  pixels[4 * i + 2] = table[entry + 2];
  pixels[4 * i + 3] = alpha;
}

/** RGBA of every patch, for an overlay whose opacity grows with the value. */
export function overlayPixels(values, scale, table, opacity) {
  const pixels = new Uint8ClampedArray(values.length * 4);
  values.forEach((value, i) => {
    const place = placed(value, scale);
    const least = scale.signed ? 0 : LEAST;
    const cover = Math.min(1, least + (1 + LEAST) * strength(place, scale.signed));
    put(pixels, i, table, place, 255 * opacity * cover);
  });
  return pixels;
}

/** RGBA of every patch without a photo below, for the small maps of the wall. */
export function solidPixels(values, scale, table) {
  const pixels = new Uint8ClampedArray(values.length * 4);
  values.forEach((value, i) => {
    put(pixels, i, table, placed(value, scale), 255);
  });
  return pixels;
}

/** RGBA of colors in the data, three bytes per patch. */
export function rgbPixels(bytes, opacity) {
  const pixels = new Uint8ClampedArray((bytes.length / 3) * 4);
  for (let i = 0; i < bytes.length / 3; i++) {
    pixels.set(bytes.subarray(3 * i, 3 * i + 3), 4 * i);
    pixels[4 * i + 3] = 255 * opacity;
  }
  return pixels;
}

/** A color table as a CSS gradient. */
export function gradient(table, stops = 16) {
  const colours = Array.from({ length: stops }, (_, i) => {
    return `rgb(${colourAt(table, i / (stops - 1)).join(" ")})`;
  });
  return `linear-gradient(90deg, ${colours.join(", ")})`;
}
