/** What happens a second, from counters that only grow. */

import { History } from "./spark.js";

/** @param {any} overview */
const FIGURES = (overview) => ({
  events: total(overview.bus, "events_processed_total", "commands_processed_total"),
  failures: total(overview.bus, "events_failed_total", "commands_failed_total"),
  calls: overview.pools.reduce((/** @type {number} */ sum, /** @type {any} */ pool) => sum + pool.done, 0),
});

export class Rates {
  constructor() {
    this.history = new History();
    /** @type {Record<string, number | null>} */
    this.now = {};
    /** @type {{at: number, figures: Record<string, number>} | null} */
    this.before = null;
  }

  /** @param {any} overview */
  learn(overview) {
    const at = Date.parse(overview.now) / 1000;
    const figures = FIGURES(overview);
    this.history.add("sessions", overview.sessions);
    this.history.add("cost", overview.cost === null ? null : Number(overview.cost));
    const before = this.before;
    if (before && at > before.at) {
      for (const [name, value] of Object.entries(figures)) {
        // A smaller counter belongs to an actor that has started anew.
        this.now[name] = Math.max(0, value - before.figures[name]) / (at - before.at);
        this.history.add(name, this.now[name]);
      }
    }
    if (!before || at > before.at) this.before = { at, figures };
  }
}

/** @param {Record<string, number>} counters @param {...string} names */
function total(counters, ...names) {
  return names.reduce((sum, name) => sum + (counters[name] ?? 0), 0);
}
