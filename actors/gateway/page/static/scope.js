/** What lasts as long as one screen is shown. */

import { ApiError } from "./api.js";

/** @typedef {import("./dom.js").Child} Child */
/**
 * @typedef {object} Screen
 * @property {string} title
 * @property {() => Child} draw
 * @property {Record<string, [string, () => void]>} [keys]
 */

export class Scope {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.ending = new AbortController();
    /** @type {(() => void)[]} */
    this.ends = [];
    /** @type {unknown} */
    this.failure = null;
  }

  get signal() {
    return this.ending.signal;
  }

  get over() {
    return this.signal.aborted;
  }

  end() {
    this.ending.abort();
    this.ends.splice(0).forEach((end) => end());
  }

  /**
   * @param {string} topic
   * @param {(data: any) => void} then
   */
  watch(topic, then) {
    this.ends.push(this.app.live.watch(topic, then));
  }

  /**
   * @param {number} milliseconds
   * @param {() => void} then
   */
  every(milliseconds, then) {
    const timer = setInterval(then, milliseconds);
    this.ends.push(() => clearInterval(timer));
  }

  /**
   * Asks, and draws; a refusal stands on the screen until the next answer.
   *
   * @param {() => Promise<void>} work
   */
  async load(work) {
    try {
      await work();
      this.failure = null;
    } catch (error) {
      if (this.over) return;
      if (!(error instanceof ApiError)) throw error;
      this.failure = error.status === 401 ? null : error;
    }
    if (!this.over) this.app.redraw();
  }
}

/**
 * Runs `work` at once and then at most every `gap` milliseconds; the last call is never dropped.
 *
 * @param {() => Promise<void>} work
 * @param {number} gap
 */
export function paced(work, gap) {
  let running = false;
  let again = false;
  return async function run() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    do {
      again = false;
      await work();
      await new Promise((resolve) => setTimeout(resolve, gap));
    } while (again);
    running = false;
  };
}

/**
 * Calls `then` once nothing has been typed for a moment.
 *
 * @param {(text: string) => void} then
 */
export function typed(then) {
  let timer = 0;
  /** @param {Event} event */
  return (event) => {
    const { value } = /** @type {HTMLInputElement} */ (event.target);
    clearTimeout(timer);
    timer = setTimeout(() => then(value), 180);
  };
}
