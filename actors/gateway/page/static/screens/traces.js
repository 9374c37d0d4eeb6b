/** Traces, to be searched. */

import { h } from "../dom.js";
import { ago, count, money, plural, seconds } from "../format.js";
import { List } from "../list.js";
import { empty } from "../overlay.js";
import { Paged } from "../paged.js";
import { go, note } from "../router.js";
import { typed } from "../scope.js";
import { body, head, search, tokens } from "./parts.js";

const AGAIN = 3000;

export class Traces {
  title = "Traces";

  /**
   * @param {import("../app.js").App} app
   * @param {import("../scope.js").Scope} scope
   * @param {import("../router.js").Place} place
   */
  constructor(app, scope, place) {
    this.scope = scope;
    /** @type {Record<string, string>} */
    this.query = place.query;
    this.list = new List({
      label: "Traces",
      columns: [
        {
          title: "Trace",
          width: "minmax(116px, 2fr)",
          cell: (row) => [
            h("strong", null, row.name || "–"),
            " ",
            h("span", { class: "aside mono" }, row.id.slice(0, 8)),
          ],
        },
        { title: "Session", wide: true, width: "minmax(100px, 1.3fr)", cell: (row) => row.session || "–" },
        { title: "Outcome", width: "minmax(104px, 1fr)", cell: outcome },
        { title: "Took", width: "62px", number: true, cell: (row) => seconds(row.seconds) },
        { title: "Spans", wide: true, width: "66px", number: true, cell: (row) => count(row.spans) },
        { title: "Tokens", wide: true, width: "74px", number: true, cell: (row) => tokens(row.tokens) },
        { title: "Cost", wide: true, width: "78px", number: true, cell: (row) => money(row.cost) },
        { title: "Began", wide: true, width: "100px", number: true, cell: (row) => ago(row.start) },
      ],
      key: (row) => row.id,
      onOpen: (row) => go(["trace", row.id]),
      onEnd: () => this.pages.more(),
      empty: () => this.#empty(),
    });
    this.pages = new Paged(scope, ["traces"], this.list);
    this.pages.ask(this.query);
    scope.every(AGAIN, () => this.pages.refresh());
  }

  draw() {
    return [
      head(
        "Traces",
        this.pages.answered
          ? `${plural(this.pages.rows.length, "trace")}${this.pages.next ? " and more" : ""}`
          : " ",
        search("Search names and attributes", this.query.text ?? "", this.#text),
        h("input", {
          class: "field short",
          "aria-label": "Session",
          placeholder: "Session",
          value: this.query.session ?? "",
          spellcheck: "false",
          oninput: this.#session,
        }),
        h("input", {
          class: "field short",
          "aria-label": "Model",
          placeholder: "Model",
          value: this.query.model ?? "",
          spellcheck: "false",
          oninput: this.#model,
        }),
        h("input", {
          class: "field shorter",
          inputmode: "decimal",
          "aria-label": "At least so many seconds",
          placeholder: "≥ seconds",
          value: this.query.min_seconds ?? "",
          oninput: this.#slow,
        }),
        h(
          "label",
          { class: "tick" },
          h("input", { type: "checkbox", checked: this.query.error === "true", onchange: this.#errors }),
          "Errors only",
        ),
      ),
      body(this.scope, true, this.list.view),
    ];
  }

  #empty() {
    if (!this.pages.answered) return empty("traces", "Asking the runtime …");
    if (Object.values(this.query).some(Boolean))
      return empty(
        "search",
        "No trace fits",
        "Take a condition back; telemetry keeps errors, slow ones and a share of the rest.",
      );
    return empty(
      "traces",
      "No traces yet",
      "Each turn of a session makes one. Telemetry must be on: ",
      h("code", null, "telemetry.enabled"),
      ".",
    );
  }

  /** @param {Record<string, string>} change */
  #narrow(change) {
    this.query = { ...this.query, ...change };
    note(this.query);
    this.pages.ask(this.query);
  }

  #text = (/** @type {string} */ text) => this.#narrow({ text });
  #session = typed((session) => this.#narrow({ session }));
  #model = typed((model) => this.#narrow({ model }));
  #slow = typed((text) => this.#narrow({ min_seconds: Number(text) > 0 ? String(Number(text)) : "" }));
  #errors = (/** @type {Event} */ event) =>
    this.#narrow({ error: /** @type {HTMLInputElement} */ (event.target).checked ? "true" : "" });
}

/** @param {any} row */
function outcome(row) {
  if (row.error) return h("span", { class: "chip bad" }, row.error);
  if (row.running) return h("span", { class: "chip run" }, "running");
  if (row.incomplete) return h("span", { class: "chip warn" }, "incomplete");
  return h("span", { class: "chip good" }, "ok");
}
