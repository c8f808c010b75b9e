/** Elements with attributes and children; every string becomes a text node, never HTML. */

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

/** Write only what has changed, so that an unchanged page is not laid out again. */
export function write(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

/** A menu with these {value, label, reason} rows; a row with a reason cannot be chosen. */
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
