/** The runtime's settings, to be read; secrets are masked by the gateway. */

import { get } from "../api.js";
import { h } from "../dom.js";
import { empty } from "../overlay.js";
import { note } from "../router.js";
import { body, head, search } from "./parts.js";

export class Settings {
  title = "Settings";

  /**
   * @param {import("../app.js").App} app
   * @param {import("../scope.js").Scope} scope
   * @param {import("../router.js").Place} place
   */
  constructor(app, scope, place) {
    this.app = app;
    this.scope = scope;
    this.query = place.query.query ?? "";
    /** @type {Record<string, unknown> | null} */
    this.settings = null;
    scope.load(async () => {
      this.settings = (await get(["settings"], {}, scope.signal)).settings;
    });
  }

  draw() {
    return [
      head(
        "Settings",
        "As the runtime was launched with; to be changed in cluster.yaml or the environment",
        search("Search settings", this.query, this.#search),
      ),
      body(this.scope, false, this.#sections()),
    ];
  }

  #sections() {
    if (!this.settings) return h("div", { class: "card" }, empty("settings", "Asking the runtime …"));
    const wanted = this.query.toLowerCase();
    const flat = leaves(this.settings, []).filter(([path, value]) =>
      `${path.join(".")} ${String(value)}`.toLowerCase().includes(wanted),
    );
    if (!flat.length) return h("div", { class: "card" }, empty("search", "No setting fits"));
    /** @type {Map<string, [string[], unknown][]>} */
    const sections = new Map();
    for (const leaf of flat) {
      const name = leaf[0].length > 1 ? leaf[0][0] : "";
      sections.set(name, [...(sections.get(name) ?? []), leaf]);
    }
    return [...sections].map(([name, rows]) =>
      h(
        "section",
        { class: "card", key: name },
        h("header", null, h("h2", null, name || "runtime")),
        h(
          "dl",
          { class: "settings" },
          rows.map(([path, value]) =>
            h(
              "div",
              { key: path.join(".") },
              h("dt", { class: "mono" }, (name ? path.slice(1) : path).join(".")),
              h("dd", { class: "mono" }, shown(value)),
            ),
          ),
        ),
      ),
    );
  }

  #search = (/** @type {string} */ text) => {
    this.query = text;
    note({ query: text });
    this.app.redraw();
  };
}

/**
 * @param {unknown} value
 * @param {string[]} path
 * @returns {[string[], unknown][]}
 */
function leaves(value, path) {
  const branch =
    value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length > 0;
  return branch
    ? Object.entries(/** @type {object} */ (value)).flatMap(([name, one]) => leaves(one, [...path, name]))
    : [[path, value]];
}

/** @param {unknown} value */
function shown(value) {
  if (value === null || value === "")
    return h("span", { class: "aside" }, value === null ? "not set" : "empty");
  if (typeof value === "string") return value;
  return JSON.stringify(value);
}
