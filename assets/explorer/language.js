/** The visitor's language: the one in the URL, or the browser's. */

export const LANGUAGES = ["en", "zh"];
const PARAMETER = "lang";

/** The language on page load. */
export function firstLanguage(address = location.href, preferred = navigator.languages) {
  const named = new URL(address).searchParams.get(PARAMETER);
  const wanted = [named, ...preferred.map((tag) => tag.toLowerCase().split("-")[0])];
  return wanted.find((tag) => LANGUAGES.includes(tag)) ?? LANGUAGES[0];
}

/** Keep the chosen language in the URL. */
export function chooseLanguage(language) {
  const address = new URL(location.href);
  address.searchParams.set(PARAMETER, language);
  history.replaceState(history.state, "", address);
}
