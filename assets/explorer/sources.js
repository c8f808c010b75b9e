/**
 * Error messages for the photo field's clipboard and camera.
 *
 * Gradio shows no message if the browser denies access to them.
 */

const FIELD = "#photo";
const PASTE = `${FIELD} button[aria-label="Paste from clipboard"]`;
// Browser errors: no permission, no camera, or the camera is in use.
const REFUSALS = ["NotAllowedError", "NotFoundError", "NotReadableError", "SecurityError"];

/** `notice(key)` shows a text of the tables. */
export function explainRefusals(notice) {
  let pressed = null;
  document.addEventListener(
    "click",
    (click) => {
      pressed = click.target.closest(PASTE) ? "clipboard" : click.target.closest(FIELD) && "camera";
      if (pressed !== "clipboard") return;
      if (!navigator.clipboard?.read) click.stopImmediatePropagation(); // Not available without https.
      explainPaste(notice);
    },
    true,
  );
  window.addEventListener("unhandledrejection", (event) => {
    if (!pressed || !REFUSALS.includes(event.reason?.name)) return;
    event.preventDefault();
    if (pressed === "camera") notice("page.no_webcam");
  });
}

async function explainPaste(notice) {
  try {
    const items = await navigator.clipboard.read();
    const picture = items.some(({ types }) => types.some((type) => type.startsWith("image/")));
    if (!picture) notice("page.no_picture");
  } catch {
    notice("page.no_clipboard");
  }
}
