/** Provider pools: how they stand, and how many actors they shall have. */

import { get, post } from "../api.js";
import { h } from "../dom.js";
import { compact, count, json, plural, seconds } from "../format.js";
import { icon } from "../icons.js";
import { ask, attempt, empty } from "../overlay.js";
import { body, chip, head, meter, strip } from "./parts.js";

const MOST = 1000;

export class Pools {
  title = "Pools";

  /**
   * @param {import("../app.js").App} app
   * @param {import("../scope.js").Scope} scope
   */
  constructor(app, scope) {
    this.app = app;
    this.scope = scope;
    /** @type {any[] | null} */
    this.pools = null;
    /** @type {Map<string, number>} sizes that were chosen and not yet asked for */
    this.sizes = new Map();
    /** @type {Set<string>} */
    this.busy = new Set();
    scope.watch("pools", (data) => this.#learn(data.items));
    this.#load();
  }

  draw() {
    const { pools } = this;
    const used = (pools ?? []).filter(
      (pool) => pool.size || pool.actors.length || this.busy.has(pool.provider),
    );
    const unused = (pools ?? []).filter((pool) => !used.includes(pool));
    return [
      head("Pools", pools ? `${plural(used.length, "pool")} in use, ${unused.length} at rest` : " "),
      body(
        this.scope,
        false,
        !pools && h("div", { class: "card" }, empty("pools", "Asking the runtime …")),
        used.map((pool) => this.#pool(pool)),
        unused.length > 0 &&
          h(
            "section",
            { class: "card" },
            h(
              "header",
              null,
              h("h2", null, "At rest"),
              h("span", { class: "aside" }, "They start with the first call, or when they are scaled."),
            ),
            h(
              "ul",
              { class: "resting" },
              unused.map((pool) =>
                h("li", { key: pool.provider }, h("strong", null, pool.provider), this.#stepper(pool)),
              ),
            ),
          ),
        pools?.length === 0 &&
          h(
            "div",
            { class: "card" },
            empty(
              "pools",
              "No providers are set up",
              "Add one under ",
              h("code", null, "providers.endpoints"),
              " of the settings.",
            ),
          ),
      ),
    ];
  }

  /** @param {any} pool */
  #pool(pool) {
    const room = Math.max(1, pool.max_in_flight * Math.max(1, pool.ready));
    return h(
      "section",
      { key: pool.provider, class: "card", "aria-label": `Pool ${pool.provider}` },
      h(
        "header",
        { class: "wraps" },
        h("h2", null, pool.provider),
        chip(`${pool.ready} ready`, pool.ready ? "good" : ""),
        pool.starting > 0 && chip(`${pool.starting} starting`, "run"),
        pool.draining > 0 && chip(`${pool.draining} draining`, "warn"),
        h(
          "div",
          { class: "head-tools push" },
          this.#stepper(pool),
          h(
            "button",
            {
              class: "button small",
              disabled: this.busy.has(pool.provider) || !pool.actors.length,
              onclick: () => this.#drain(pool),
            },
            "Drain",
          ),
        ),
      ),
      h(
        "div",
        { class: "inner stack" },
        pool.failure && h("div", { class: "problem" }, pool.failure),
        strip([
          [
            "In flight",
            h(
              "div",
              { class: "metered" },
              h("span", null, `${compact(pool.in_flight)} of ${compact(room)}`),
              meter(pool.in_flight / room, "Calls in flight"),
            ),
          ],
          ["Waiting", compact(pool.waiting)],
          ["Done", compact(pool.done)],
          ["Failed", h("span", { class: pool.failed ? "bad-text" : "" }, compact(pool.failed))],
          [
            "Quota leaves",
            pool.usable === null ? "no limit known" : `${compact(Math.round(pool.usable))} at once`,
          ],
          ["Scaling", pool.scaling ? `${pool.scaling[0]} to ${pool.scaling[1]} by load` : "by hand"],
        ]),
        Object.keys(pool.quota).length > 0 &&
          h("details", null, h("summary", null, "Quota"), h("pre", { class: "block" }, json(pool.quota))),
        Object.keys(pool.changes).length > 0 &&
          h(
            "details",
            null,
            h("summary", null, "Settings changed since the launch"),
            h("pre", { class: "block" }, json(pool.changes)),
          ),
      ),
      pool.actors.length > 0 && actors(pool.actors),
    );
  }

  /** @param {any} pool */
  #stepper(pool) {
    const size = this.sizes.get(pool.provider) ?? pool.size;
    const busy = this.busy.has(pool.provider);
    /** @param {number} to */
    const choose = (to) => {
      const wanted = Math.max(0, Math.min(MOST, Math.round(to) || 0));
      if (wanted === pool.size) this.sizes.delete(pool.provider);
      else this.sizes.set(pool.provider, wanted);
      this.app.redraw();
    };
    /** @param {SubmitEvent} event */
    const submitted = (event) => {
      event.preventDefault();
      this.#scale(pool, size);
    };
    return h(
      "form",
      { class: "stepper", role: "group", "aria-label": `Size of ${pool.provider}`, onsubmit: submitted },
      h(
        "button",
        {
          class: "button small square",
          type: "button",
          "aria-label": `One actor less for ${pool.provider}`,
          disabled: busy || size === 0,
          onclick: () => choose(size - 1),
        },
        icon("minus"),
      ),
      h("input", {
        class: "field small",
        inputmode: "numeric",
        "aria-label": `Actors of ${pool.provider}`,
        value: String(size),
        disabled: busy,
        onchange: (/** @type {Event} */ event) =>
          choose(Number(/** @type {HTMLInputElement} */ (event.target).value)),
      }),
      h(
        "button",
        {
          class: "button small square",
          type: "button",
          "aria-label": `One actor more for ${pool.provider}`,
          disabled: busy || size === MOST,
          onclick: () => choose(size + 1),
        },
        icon("plus"),
      ),
      h(
        "button",
        {
          class: `button small ${size === pool.size ? "" : "main"}`,
          type: "submit",
          disabled: busy || size === pool.size,
        },
        busy ? "Scaling …" : "Scale",
      ),
    );
  }

  /** @param {any} pool @param {number} size */
  async #scale(pool, size) {
    const { provider } = pool;
    this.busy.add(provider);
    this.app.redraw();
    const answer = await attempt(
      () => post(["pools", provider, "scale"], { size }),
      (told) => `${provider} has ${plural(told.ready, "actor")} ready`,
    );
    this.busy.delete(provider);
    if (answer) this.sizes.delete(provider);
    await this.#load();
  }

  /** @param {any} pool */
  async #drain(pool) {
    const sure = await ask({
      title: `Drain ${pool.provider}?`,
      content: h(
        "p",
        null,
        "Its actors take no new call, end their streams, and go. The next call starts the pool again.",
      ),
      action: "Drain",
      bad: true,
    });
    if (sure)
      await attempt(
        () => post(["pools", pool.provider, "drain"]),
        (told) => told.message,
      );
    if (sure) await this.#load();
  }

  #load() {
    return this.scope.load(async () => this.#learn((await get(["pools"], {}, this.scope.signal)).items));
  }

  /** @param {any[]} pools */
  #learn(pools) {
    this.pools = pools;
    this.app.redraw();
  }
}

/** @param {any[]} rows */
function actors(rows) {
  return h(
    "div",
    { class: "scroll-x lined" },
    h(
      "table",
      { class: "table" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", null, "Actor"),
          h("th", null, "State"),
          h("th", null, "Node"),
          ["In flight", "Limit", "Waiting", "Done", "Failed", "Loop lag", "CPU"].map((title) =>
            h("th", { class: "number" }, title),
          ),
        ),
      ),
      h(
        "tbody",
        null,
        rows.map((actor) =>
          h(
            "tr",
            { key: actor.name },
            h("td", { class: "mono" }, actor.name),
            h("td", null, chip(actor.state)),
            h("td", null, actor.node),
            [
              count(actor.in_flight),
              count(actor.limit),
              count(actor.waiting),
              compact(actor.done),
              compact(actor.failed),
              seconds(actor.loop_lag),
              `${Math.round(actor.cpu * 100)} %`,
            ].map((value) => h("td", { class: "number" }, value)),
          ),
        ),
      ),
    ),
  );
}
