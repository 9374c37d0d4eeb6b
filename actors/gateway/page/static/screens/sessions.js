/** Every session, live, to be searched. */

import { h } from "../dom.js";
import { ago, count, money, plural } from "../format.js";
import { List } from "../list.js";
import { Paged } from "../paged.js";
import { go, note } from "../router.js";
import { empty } from "../overlay.js";
import { body, chip, head, search, tokens } from "./parts.js";

// What is told of changes is about the newest; others are looked at now and then.
const AGAIN = 15_000;

export class Sessions {
  title = "Sessions";

  /**
   * @param {import("../app.js").App} app
   * @param {import("../scope.js").Scope} scope
   * @param {import("../router.js").Place} place
   */
  constructor(app, scope, place) {
    this.app = app;
    this.scope = scope;
    this.query = place.query.query ?? "";
    this.list = new List({
      label: "Sessions",
      columns: [
        {
          title: "Session",
          width: "minmax(72px, 1.5fr)",
          cell: (row) => [
            h("span", { class: "mono" }, row.id),
            row.parent && h("span", { class: "aside" }, ` of ${row.parent}`),
          ],
        },
        {
          title: "State",
          width: "92px",
          cell: (row) => (row.pending || row.running ? chip("running") : chip(row.state)),
        },
        { title: "Model", wide: true, width: "minmax(130px, 1.5fr)", cell: (row) => row.model || "–" },
        { title: "Turns", wide: true, width: "62px", number: true, cell: (row) => count(row.turns) },
        { title: "Messages", wide: true, width: "78px", number: true, cell: (row) => count(row.messages) },
        { title: "Tokens", wide: true, width: "72px", number: true, cell: (row) => tokens(row.tokens) },
        { title: "Cost", wide: true, width: "76px", number: true, cell: (row) => money(row.cost) },
        {
          title: "Errors",
          wide: true,
          width: "60px",
          number: true,
          cell: (row) => (row.errors ? h("span", { class: "bad-text" }, count(row.errors)) : "–"),
        },
        { title: "Active", width: "92px", number: true, cell: (row) => ago(row.active) },
      ],
      key: (row) => row.id,
      onOpen: (row) => go(["session", row.id]),
      onEnd: () => this.pages.more(),
      empty: () => this.#empty(),
    });
    this.pages = new Paged(scope, ["sessions"], this.list);
    this.pages.ask({ query: this.query });
    scope.watch("sessions", () => this.pages.refresh());
    scope.every(AGAIN, () => this.pages.refresh());
  }

  draw() {
    const known = this.app.overview?.sessions;
    return [
      head(
        "Sessions",
        known === undefined ? " " : `${plural(known, "session")} open`,
        search("Search by id", this.query, this.#search),
      ),
      body(this.scope, true, this.list.view, this.#foot()),
    ];
  }

  #foot() {
    const { rows, next } = this.pages;
    return (
      rows.length > 0 &&
      h(
        "p",
        { class: "aside foot", role: "status" },
        next
          ? `${plural(rows.length, "session")} loaded; more follow as you scroll`
          : plural(rows.length, "session"),
      )
    );
  }

  #empty() {
    if (!this.pages.answered) return empty("sessions", "Asking the runtime …");
    if (this.query)
      return empty("search", "No session fits", "Part of an id is searched for.");
    return empty(
      "sessions",
      "No sessions yet",
      "Open one from a driver: ",
      h("code", null, 'runtime.session(model="…")'),
      ", or talk to the gateway with a header ",
      h("code", null, "x-llmgine-session"),
      ".",
    );
  }

  #search = (/** @type {string} */ text) => {
    this.query = text;
    note({ query: text });
    this.pages.ask({ query: text });
  };
}
