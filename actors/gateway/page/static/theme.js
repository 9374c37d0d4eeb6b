/** Light, dark, or as the system says; kept in this browser. */

const KEPT = "llmgine.theme";
const ORDER = ["auto", "light", "dark"];

export const NAMES = { auto: "As the system", light: "Light", dark: "Dark" };
export const DRAWINGS = { auto: "auto", light: "sun", dark: "moon" };

/** @returns {"auto" | "light" | "dark"} */
export function theme() {
  const kept = localStorage.getItem(KEPT) ?? "";
  return /** @type {any} */ (ORDER.includes(kept) ? kept : "auto");
}

export function apply() {
  document.documentElement.dataset.theme = theme();
}

export function next() {
  localStorage.setItem(KEPT, ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length]);
  apply();
}
