/** The visitor's choices. Pure functions: (state, data, …) → new state. */

export const PANES = ["a", "b"];
const FIRST = { a: ["patches"], b: ["rollout"] };

export function viewNamed(data, name) {
  return data.views.find((view) => view.name === name);
}

function available(data, name) {
  const view = viewNamed(data, name);
  return view !== undefined && view.reason === undefined;
}

function firstView(data, pane) {
  const names = [...FIRST[pane], ...data.views.map((view) => view.name)];
  return names.find((name) => available(data, name));
}

/** The state for new data; previous choices are kept if the data has them. */
export function begin(data, before = {}) {
  const views = {};
  for (const pane of PANES) {
    const wanted = before.views?.[pane];
    views[pane] = available(data, wanted) ? wanted : firstView(data, pane);
  }
  const layer = within(before.layer ?? data.layers, 1, data.layers);
  return {
    views,
    layer,
    head: within(before.head ?? 0, 0, data.heads[layer - 1]),
    pin: before.pin && before.pin[0] < data.grid[0] && before.pin[1] < data.grid[1] ? before.pin : null,
    hover: null,
    active: before.active ?? "b",
    opacity: before.opacity ?? 0.9,
    smooth: before.smooth ?? false,
    ...classesOf(data, before),
    whole: Boolean(before.whole && data.photo.whole),
    lines: before.lines ?? false,
    sequence: before.sequence ?? false,
  };
}

/** Whether patches are shown as the input sequence; not in models that merge tokens. */
export function inSequence(state, data) {
  return state.sequence && Boolean(data.rows);
}

/** Keep the chosen classes for the same checkpoint; null is the top prediction, or no comparison. */
function classesOf(data, before) {
  const ref = data.checkpoint?.ref;
  const kept = before.ref === ref;
  return { ref, target: (kept ? before.target : null) ?? null, versus: (kept ? before.versus : null) ?? null };
}

/** The index of the explained class. */
export function explained(state, data) {
  return state.target ?? data.predictions[0].index;
}

/** Explain a class (null: the top prediction); a class cannot be compared with itself. */
export function withTarget(state, data, target) {
  const next = { ...state, target };
  return explained(next, data) === state.versus ? { ...next, versus: null } : next;
}

export function withVersus(state, data, versus) {
  return versus === explained(state, data) ? state : { ...state, versus };
}

/** Show a map of the class: in the right pane, unless a pane already shows one. */
export function withClassMap(state, data) {
  if (PANES.some((pane) => viewNamed(data, state.views[pane]).by_class)) return state;
  const map = data.views.find((view) => view.by_class && view.reason === undefined);
  return map ? withView(state, data, "b", map.name) : state;
}

/** What to request for a view in this state: {target, versus}, or null if nothing is missing. */
export function missing(view, state) {
  const wanted = { target: null, versus: null };
  if (view.by_class) Object.assign(wanted, { target: state.target, versus: state.versus });
  if (view.to_come) return wanted;
  if (!view.by_class) return null;
  return view.target === wanted.target && view.versus === wanted.versus ? null : wanted;
}

function within(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

export function withView(state, data, pane, name) {
  if (!available(data, name)) return state;
  return { ...state, active: pane, views: { ...state.views, [pane]: name } };
}

/** Show the view with this number (from 1) in the active pane. */
export function withViewNumber(state, data, number) {
  const view = data.views[number - 1];
  return view ? withView(state, data, state.active, view.name) : state;
}

export function withLayer(state, data, layer) {
  const chosen = within(layer, 1, data.layers);
  return { ...state, layer: chosen, head: within(state.head, 0, data.heads[chosen - 1]) };
}

export function withHead(state, data, head) {
  return { ...state, head: within(head, 0, data.heads[state.layer - 1]) };
}

export function nextHead(state, data) {
  return { ...state, head: (state.head + 1) % (data.heads[state.layer - 1] + 1) };
}

/** Choose a cell of the wall: show it in the right pane, unless a pane already shows attention. */
export function withCell(state, data, layer, head) {
  const chosen = withHead(withLayer(state, data, layer), data, head);
  const reads = PANES.some((pane) => viewNamed(data, chosen.views[pane]).kind === "attention");
  return reads ? chosen : withView(chosen, data, "b", "attention");
}

export function same(one, other) {
  return one === other || Boolean(one && other && one[0] === other[0] && one[1] === other[1]);
}

export function withHover(state, patch) {
  return same(state.hover, patch) ? state : { ...state, hover: patch };
}

/** Handle a click: pin the patch, or unpin it. */
export function pinned(state, patch) {
  return { ...state, pin: same(state.pin, patch) ? null : patch };
}

/** Move the pin by (rows, cols); the first step pins the patch under the pointer, or the middle. */
export function movedPin(state, data, down, across) {
  const [rows, cols] = data.grid;
  if (!state.pin) {
    return { ...state, pin: state.hover ?? [Math.floor(rows / 2), Math.floor(cols / 2)], hover: null };
  }
  const [row, col] = state.pin;
  return {
    ...state,
    hover: null,
    pin: [within(row + down, 0, rows - 1), within(col + across, 0, cols - 1)],
  };
}

/** The followed patch: the one under the pointer, or the pinned one. */
export function followed(state) {
  return state.hover ?? state.pin;
}

/** The new state after a key, or null for keys without a function. */
export function afterKey(state, data, key) {
  switch (key) {
    case "ArrowUp":
      return movedPin(state, data, -1, 0);
    case "ArrowDown":
      return movedPin(state, data, 1, 0);
    case "ArrowLeft":
      return movedPin(state, data, 0, -1);
    case "ArrowRight":
      return movedPin(state, data, 0, 1);
    case "[":
      return withLayer(state, data, state.layer - 1);
    case "]":
      return withLayer(state, data, state.layer + 1);
    case "h":
      return nextHead(state, data);
    case "g":
      return { ...state, lines: !state.lines };
    case "Escape":
      return state.pin ? { ...state, pin: null } : null;
    default:
      return /^[1-9]$/.test(key) ? withViewNumber(state, data, Number(key)) : null;
  }
}
