/** The bus: every handler with its mailbox, its breaker and its gaps. */

import { get } from "../api.js";
import { h } from "../dom.js";
import { compact, count, plural, rate, tail } from "../format.js";
import { List } from "../list.js";
import { empty } from "../overlay.js";
import { link, note } from "../router.js";
import { body, breaker, facts, head, search, segments, strip } from "./parts.js";

const GAPS = ["dropped", "coalesced", "expired", "discarded", "rejected"];

export class Bus {
  title = "Bus";

  /**
   * @param {import("../app.js").App} app
   * @param {import("../scope.js").Scope} scope
   * @param {import("../router.js").Place} place
   */
  constructor(app, scope, place) {
    this.app = app;
    this.scope = scope;
    this.query = place.query.query ?? "";
    this.only = place.query.only ?? "";
    /** @type {any} */
    this.state = null;
    /** @type {any} */
    this.chosen = null;
    this.list = new List({
      label: "Handlers",
      columns: [
        {
          title: "Handler",
          width: "minmax(112px, 2fr)",
          cell: (row) => [
            h("strong", null, row.name),
            row.session !== "BUS" && h("span", { class: "aside" }, ` in ${row.session}`),
          ],
        },
        {
          title: "Hears",
          wide: true,
          width: "minmax(110px, 1.4fr)",
          cell: (row) =>
            h(
              "span",
              { title: row.type },
              tail(row.type),
              row.kind === "command" && h("span", { class: "aside" }, " command"),
            ),
        },
        { title: "Breaker", width: "104px", cell: (row) => breaker(row.breaker) },
        { title: "Mailbox", wide: true, width: "76px", number: true, cell: (row) => compact(row.queue_size) },
        {
          title: "In flight",
          wide: true,
          width: "72px",
          number: true,
          cell: (row) => compact(row.in_flight),
        },
        {
          title: "Handled",
          wide: true,
          width: "84px",
          number: true,
          cell: (row) => compact(row.counts.handled),
        },
        { title: "Failed", width: "66px", number: true, cell: (row) => warned(row.counts.failed) },
        {
          title: "Retried",
          wide: true,
          width: "66px",
          number: true,
          cell: (row) => compact(row.counts.retried),
        },
        { title: "Gaps", wide: true, width: "60px", number: true, cell: (row) => warned(gaps(row)) },
      ],
      key,
      onSelect: (row) => this.#choose(row),
      empty: () => this.#empty(),
    });
    scope.watch("bus", (data) => this.#learn(data));
    this.#load();
  }

  draw() {
    const counters = this.state?.counters ?? {};
    return [
      head(
        "Bus",
        this.state ? plural(this.state.handlers.length, "handler") : " ",
        segments(
          "Which handlers",
          [
            ["", "All"],
            ["trouble", "In trouble"],
            ["busy", "Busy"],
          ],
          this.only,
          this.#narrow,
        ),
        search("Search handlers", this.query, this.#search),
      ),
      body(
        this.scope,
        true,
        strip([
          ["Handled a second", rate(this.app.rates.now.events ?? 0)],
          ["Published", compact(counters.events_published_total)],
          ["Commands", compact(counters.commands_sent_total)],
          ["Failed", compact(counters.events_failed_total)],
          ["Retries", compact(counters.retries_total)],
          ["In mailboxes", compact(counters.queue_size)],
          ["Parked", compact(counters.parked)],
          [
            "Backpressure",
            counters.backpressure_active
              ? h("span", { class: "warn-text" }, count(counters.backpressure_active))
              : "none",
          ],
        ]),
        this.list.view,
        this.chosen && this.#details(this.chosen),
      ),
    ];
  }

  /** @param {any} row */
  #details(row) {
    const told = Object.entries(row.counts).filter(([, value]) => value);
    return h(
      "section",
      { class: "card", "aria-label": "The chosen handler" },
      h(
        "header",
        null,
        h("h2", { class: "cut" }, row.name),
        breaker(row.breaker),
        h("span", { class: "aside cut mono" }, row.type),
        h("a", { class: "push", href: link(["letters"], { handler: row.name }) }, "Its dead letters"),
      ),
      h(
        "div",
        { class: "inner columns" },
        facts(told.map(([name, value]) => [name.replaceAll("_", " "), count(value)])),
      ),
    );
  }

  #empty() {
    if (!this.state) return empty("bus", "Asking the runtime …");
    if (this.state.handlers.length)
      return empty("search", "No handler fits", "Show all handlers, or search for something else.");
    return empty(
      "bus",
      "No handler is registered",
      "Register one from a driver: ",
      h("code", null, "runtime.bus.register_event_handler(…)"),
      ".",
    );
  }

  #load() {
    return this.scope.load(async () => this.#learn(await get(["bus"], {}, this.scope.signal)));
  }

  /** @param {any} state */
  #learn(state) {
    this.state = state;
    if (this.chosen)
      this.chosen = state.handlers.find((/** @type {any} */ row) => key(row) === key(this.chosen)) ?? null;
    this.#show();
  }

  #show() {
    const wanted = this.query.toLowerCase();
    const rows = (this.state?.handlers ?? []).filter((/** @type {any} */ row) => {
      if (this.only === "trouble" && row.breaker === "closed" && !row.counts.failed && !gaps(row))
        return false;
      if (this.only === "busy" && !row.queue_size && !row.in_flight) return false;
      return !wanted || [row.name, row.type, row.session].some((text) => text.toLowerCase().includes(wanted));
    });
    this.list.set(rows);
    this.app.redraw();
  }

  /** @param {any} row */
  #choose(row) {
    this.chosen = row;
    this.app.redraw();
  }

  #search = (/** @type {string} */ text) => {
    this.query = text;
    note({ query: text, only: this.only });
    this.#show();
  };

  #narrow = (/** @type {string} */ only) => {
    this.only = only;
    note({ query: this.query, only });
    this.#show();
  };
}

/** @param {any} row */
function key(row) {
  return [row.session, row.kind, row.type, row.name].join("\x1f");
}

/** @param {any} row */
function gaps(row) {
  return GAPS.reduce((sum, name) => sum + (row.counts[name] ?? 0), 0);
}

/** @param {number} number */
function warned(number) {
  return number ? h("span", { class: "bad-text" }, compact(number)) : compact(number ?? 0);
}
