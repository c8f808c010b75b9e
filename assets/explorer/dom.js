/** Create elements with attributes and children; strings become text nodes, never HTML. */

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  setAttributes(made, attributes);
  made.append(...children);
  return made;
}

export function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  setAttributes(made, attributes);
  made.append(...children);
  return made;
}

function setAttributes(made, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null) made.setAttribute(key, value);
  }
}

/** Write only changed text, to avoid a new layout. */
export function write(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

/** Fill a menu with rows of {value, label, reason}; a row with a reason is disabled. */
export function fillMenu(menu, rows, chosen) {
  menu.replaceChildren(
    ...rows.map(({ value, label, reason }) => {
      const option = element("option", { value }, reason ? `${label} (${reason})` : label);
      option.disabled = Boolean(reason);
      if (reason) option.title = reason;
      return option;
    }),
  );
  menu.value = chosen;
}
