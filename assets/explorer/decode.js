/** Decode base64 and zlib bytes to numbers. */

export function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Little-endian float32, as NumPy writes them. */
export function floatsOf(base64) {
  return new Float32Array(bytesOf(base64).buffer);
}

export async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** One row: value = byte / 255 × the scale of the row. */
export function rowOf(bytes, scales, row, length) {
  const values = new Float32Array(length);
  const unit = scales[row] / 255;
  for (let i = 0; i < length; i++) values[i] = bytes[row * length + i] * unit;
  return values;
}
