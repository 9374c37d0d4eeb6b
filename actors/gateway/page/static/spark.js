/** A small line of what a figure was. */

import { h } from "./dom.js";

const WIDTH = 200;
const HEIGHT = 38;

/** The latest values of some figures, one a second at most. */
export class History {
  /** @param {number} length how many values are kept of each */
  constructor(length = 120) {
    this.length = length;
    /** @type {Map<string, number[]>} */
    this.values = new Map();
  }

  /**
   * @param {string} name
   * @param {number | null} value
   */
  add(name, value) {
    if (value === null || !Number.isFinite(value)) return;
    const values = this.values.get(name) ?? [];
    values.push(value);
    if (values.length > this.length) values.shift();
    this.values.set(name, values);
  }

  /** @param {string} name */
  get(name) {
    return this.values.get(name) ?? [];
  }
}

/**
 * @param {number[]} values
 * @param {string} label what a listener hears
 * @param {string} [tone]
 */
export function spark(values, label, tone = "") {
  const top = Math.max(...values, 1e-9) * 1.15;
  const points = values.length > 1 ? values : [values[0] ?? 0, values[0] ?? 0];
  const step = WIDTH / (points.length - 1);
  const line = points
    .map(
      (value, at) =>
        `${at ? "L" : "M"}${(at * step).toFixed(1)} ${(HEIGHT - 2 - (value / top) * (HEIGHT - 6)).toFixed(1)}`,
    )
    .join("");
  return h(
    "svg",
    {
      class: `spark ${tone}`,
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
    },
    h("path", { class: "under", d: `${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z` }),
    h("path", { d: line }),
  );
}
