/** Keys that work on every screen, and the list of them. */

import { h } from "./dom.js";
import { ask } from "./overlay.js";

/** @typedef {{keys: string, text: string}} Shortcut */

const SECOND_KEY = 1200;
/** @type {Shortcut[]} */
const IN_LISTS = [
  { keys: "j ↓", text: "Next row" },
  { keys: "k ↑", text: "Row before" },
  { keys: "Home End", text: "First, last row" },
  { keys: "Enter", text: "Open" },
  { keys: "← →", text: "Fold, unfold a span" },
  { keys: "z Z", text: "Zoom to a span, and out" },
];

export class Keys {
  constructor() {
    /** @type {Map<string, {text: string, run: () => void}>} */
    this.everywhere = new Map();
    /** @type {Map<string, {text: string, run: () => void}>} */
    this.screen = new Map();
    this.first = "";
    this.timer = 0;
    document.addEventListener("keydown", (event) => this.#keyed(event));
  }

  /**
   * A key, or two that follow each other ("g s").
   *
   * @param {string} keys
   * @param {string} text
   * @param {() => void} run
   */
  add(keys, text, run) {
    this.everywhere.set(keys, { text, run });
  }

  /**
   * The keys of the screen that is shown now.
   *
   * @param {Record<string, [string, () => void]>} keys
   */
  setScreen(keys) {
    this.screen = new Map(Object.entries(keys).map(([key, [text, run]]) => [key, { text, run }]));
  }

  show() {
    if (document.querySelector("dialog[open]")) return;
    const jumps = rows(this.everywhere).filter((row) => row.keys.startsWith("g "));
    const others = rows(this.everywhere).filter((row) => !row.keys.startsWith("g "));
    ask({
      title: "Keyboard",
      wide: true,
      content: h(
        "div",
        { class: "keys" },
        h("div", { class: "stack" }, group("Go to", jumps), group("On this screen", rows(this.screen))),
        h("div", { class: "stack" }, group("Anywhere", others), group("In lists", IN_LISTS)),
      ),
    });
  }

  /** @param {KeyboardEvent} event */
  #keyed(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest("dialog")) return;
    if (target.closest("input, textarea, select")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (/^(j|k|ArrowDown|ArrowUp)$/.test(event.key) && intoList()) {
      event.preventDefault();
      return;
    }
    const keys = this.first ? `${this.first} ${event.key}` : event.key;
    clearTimeout(this.timer);
    this.first = "";
    const known = this.screen.get(keys) ?? this.everywhere.get(keys);
    if (known) {
      event.preventDefault();
      known.run();
    } else if (event.key === "g") {
      this.first = "g";
      this.timer = setTimeout(() => (this.first = ""), SECOND_KEY);
    }
  }
}

/** Where nothing has the focus, the screen's list takes it. */
function intoList() {
  const list = /** @type {HTMLElement | null} */ (document.querySelector("main [data-list]"));
  const active = document.activeElement;
  if (!list || (active && active !== document.body && active.id !== "main")) return false;
  list.focus({ focusVisible: true });
  return true;
}

/**
 * @param {Map<string, {text: string}>} keys
 * @returns {Shortcut[]}
 */
function rows(keys) {
  return [...keys].map(([name, { text }]) => ({ keys: name, text }));
}

/**
 * @param {string} title
 * @param {Shortcut[]} shortcuts
 */
function group(title, shortcuts) {
  const row = (/** @type {Shortcut} */ { keys, text }) =>
    h(
      "li",
      null,
      h("span", null, text),
      h(
        "span",
        null,
        keys.split(" ").map((key) => [h("kbd", null, key), " "]),
      ),
    );
  return shortcuts.length > 0 && h("section", null, h("h3", null, title), h("ul", null, shortcuts.map(row)));
}
