/** The visitor's choices in the URL: read on page load, written after each change. */

const LONGEST = 200;
const MOST = 1_000_000;
const NAME = /^[a-z_]{1,40}$/;

/** Parse the query of a URL; the content is untrusted, and invalid values are dropped. */
export function readAddress(search) {
  const query = new URLSearchParams(search);
  const named = (key) => (NAME.test(query.get(key) ?? "") ? query.get(key) : undefined);
  const number = (key) => whole(query.get(key));
  const pin = (query.get("patch") ?? "").split(",").map(whole);
  const found = {
    checkpoint: text(query.get("checkpoint")),
    example: text(query.get("example")),
    views: { a: named("a"), b: named("b") },
    layer: number("layer"),
    head: number("head"),
    pin: pin.length === 2 && !pin.includes(undefined) ? pin : undefined,
    target: number("target"),
    versus: number("versus"),
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

/** The initial choices; a class must be one of the checkpoint's. */
export function beforeFirst(address, data, most = 50) {
  const known = (index) => data.classes.length >= most || data.classes.some((each) => each.index === index);
  const { target, versus } = address;
  return {
    ...address,
    ref: data.checkpoint.ref,
    target: known(target) ? target : undefined,
    versus: known(versus) && versus !== (target ?? data.predictions[0].index) ? versus : undefined,
  };
}

/** The URL with the current choices; defaults are omitted. */
export function writeAddress(address, { checkpoint, example, state, data }) {
  const written = new URL(address);
  const set = (key, value) => {
    if (value === undefined || value === null || value === "") written.searchParams.delete(key);
    else written.searchParams.set(key, value);
  };
  set("checkpoint", checkpoint);
  set("example", example);
  if (!state) return written;
  set("a", state.views.a === "patches" ? null : state.views.a);
  set("b", state.views.b === "rollout" ? null : state.views.b);
  set("layer", state.layer === data.layers ? null : state.layer);
  set("head", state.head || null);
  set("patch", state.pin?.join(","));
  set("target", state.target);
  set("versus", state.versus);
  return written;
}

function text(value) {
  return value && value.length <= LONGEST ? value : undefined;
}

function whole(value) {
  return /^\d{1,7}$/.test(value ?? "") && Number(value) < MOST ? Number(value) : undefined;
}
