/** The whole at a glance. */

import { h } from "../dom.js";
import { ago, compact, count, money, plural, rate, seconds } from "../format.js";
import { empty } from "../overlay.js";
import { link } from "../router.js";
import { spark } from "../spark.js";
import { body, chip, head, meter } from "./parts.js";

export class Overview {
  title = "Overview";

  /**
   * @param {import("../app.js").App} app
   * @param {import("../scope.js").Scope} scope
   */
  constructor(app, scope) {
    this.app = app;
    this.scope = scope;
  }

  draw() {
    const now = this.app.overview;
    if (!now)
      return [
        head("Overview", " "),
        body(this.scope, false, h("p", { class: "aside", role: "status" }, "Asking the runtime …")),
      ];
    const up = (Date.parse(now.now) - Date.parse(now.started)) / 1000;
    return [
      head("Overview", [
        `Runtime ${now.runtime}, up ${seconds(up)}, ${plural(now.drivers, "driver")}, ${plural(now.actors.length, "actor")}`,
      ]),
      body(
        this.scope,
        false,
        this.#figures(now),
        h(
          "div",
          { class: "grid" },
          this.#pools(now),
          h("div", { class: "stack" }, this.#waiting(now), this.#actors(now)),
        ),
      ),
    ];
  }

  /** @param {any} now */
  #figures(now) {
    const { rates } = this.app;
    const past = (/** @type {string} */ name) => rates.history.get(name);
    return h(
      "section",
      { class: "figures", "aria-label": "Figures" },
      figure(
        "Open sessions",
        count(now.sessions),
        `${plural(now.turns_pending, "turn")} under way`,
        spark(past("sessions"), "Open sessions over the last minutes"),
        ["sessions"],
      ),
      figure(
        "Messages handled",
        [rate(rates.now.events ?? 0), h("small", null, " /s")],
        `${compact(now.queue_size)} in mailboxes`,
        spark(past("events"), "Messages a second over the last minutes"),
        ["bus"],
      ),
      figure(
        "Failures",
        [rate(rates.now.failures ?? 0), h("small", null, " /s")],
        `${compact(now.bus.events_failed_total ?? 0)} events so far`,
        spark(past("failures"), "Failures a second over the last minutes", "bad"),
        ["bus"],
      ),
      figure(
        "Model calls",
        [rate(rates.now.calls ?? 0), h("small", null, " /s")],
        `${compact(now.tokens.input + now.tokens.output)} tokens so far`,
        spark(past("calls"), "Model calls a second over the last minutes"),
        ["pools"],
      ),
      figure(
        "Cost",
        money(now.cost),
        `${compact(now.tokens.cached)} tokens from caches`,
        spark(past("cost"), "Cost over the last minutes"),
        ["cost"],
      ),
    );
  }

  /** @param {any} now */
  #pools(now) {
    return h(
      "section",
      { class: "card" },
      h(
        "header",
        null,
        h("h2", null, "Pools"),
        h("a", { class: "push", href: link(["pools"]) }, "All pools"),
      ),
      now.pools.length
        ? h(
            "div",
            { class: "scroll-x" },
            h(
              "table",
              { class: "table" },
              h(
                "thead",
                null,
                h(
                  "tr",
                  null,
                  h("th", null, "Provider"),
                  h("th", null, "Actors"),
                  h("th", null, "In flight"),
                  h("th", { class: "number" }, "Waiting"),
                  h("th", { class: "number" }, "Failed"),
                ),
              ),
              h("tbody", null, now.pools.map(poolRow)),
            ),
          )
        : empty("pools", "No pool has been used yet", "A pool starts with the first call of its provider."),
    );
  }

  /** @param {any} now */
  #waiting(now) {
    const open = now.breakers_open;
    return h(
      "section",
      { class: "card" },
      h("header", null, h("h2", null, "Wants attention")),
      h(
        "ul",
        { class: "notes" },
        note(
          now.approvals_pending,
          "approval waits",
          "approvals wait",
          "No tool call waits for leave",
          ["approvals"],
          "warn",
        ),
        now.dead_letters === null
          ? h(
              "li",
              null,
              chip("unknown", "warn"),
              h("span", null, "The store is away, so dead letters are not counted"),
            )
          : note(now.dead_letters, "dead letter", "dead letters", "No dead letters", ["letters"], "bad"),
        note(open, "breaker is open", "breakers are open", "Every breaker is closed", ["bus"], "bad"),
        now.pools
          .filter((/** @type {any} */ pool) => pool.failure)
          .map((/** @type {any} */ pool) =>
            h(
              "li",
              { key: pool.provider },
              chip("failed"),
              h("a", { href: link(["pools"]) }, `${pool.provider}: ${pool.failure}`),
            ),
          ),
      ),
    );
  }

  /** @param {any} now */
  #actors(now) {
    /** @type {Map<string, number>} */
    const kinds = new Map();
    for (const actor of now.actors) kinds.set(actor.kind, (kinds.get(actor.kind) ?? 0) + 1);
    return h(
      "section",
      { class: "card" },
      h(
        "header",
        null,
        h("h2", null, "Actors"),
        h("span", { class: "aside push" }, `started ${ago(now.started)}`),
      ),
      h(
        "ul",
        { class: "kinds" },
        [...kinds]
          .sort()
          .map(([kind, number]) =>
            h("li", { key: kind }, h("span", { class: "aside" }, kind), h("strong", null, count(number))),
          ),
      ),
    );
  }
}

/**
 * @param {string} name
 * @param {import("../dom.js").Child} value
 * @param {string} about
 * @param {import("../dom.js").Child} line
 * @param {string[]} to
 */
function figure(name, value, about, line, to) {
  return h(
    "a",
    { class: "card figure", href: link(to) },
    h("span", { class: "name" }, name),
    h("span", { class: "value" }, value),
    h("span", { class: "note" }, about),
    line,
  );
}

/** @param {any} pool */
function poolRow(pool) {
  const room = pool.max_in_flight * Math.max(1, pool.ready);
  return h(
    "tr",
    { key: pool.provider },
    h("td", null, h("strong", null, pool.provider)),
    h(
      "td",
      null,
      `${pool.ready} of ${pool.size}`,
      pool.starting > 0 && [" ", chip("starting")],
      pool.draining > 0 && [" ", chip("draining")],
    ),
    h(
      "td",
      null,
      h(
        "div",
        { class: "metered" },
        meter(pool.in_flight / room, `${pool.provider}: calls in flight`),
        h("span", null, compact(pool.in_flight)),
      ),
    ),
    h("td", { class: "number" }, compact(pool.waiting)),
    h("td", { class: `number ${pool.failed ? "bad-text" : ""}` }, compact(pool.failed)),
  );
}

/**
 * @param {number} number
 * @param {string} one
 * @param {string} many
 * @param {string} none
 * @param {string[]} to
 * @param {string} tone
 */
function note(number, one, many, none, to, tone) {
  if (!number) return h("li", null, chip("fine", "good"), h("span", { class: "aside" }, none));
  return h("li", null, chip(count(number), tone), h("a", { href: link(to) }, number === 1 ? one : many));
}
