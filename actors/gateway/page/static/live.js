/**
 * One connection that brings changes of whatever is being looked at.
 *
 * It reconnects by itself, and then gets the present state first. While nobody sees the page it rests.
 */

import { ApiError, address, send } from "./api.js";
import { events } from "./sse.js";

/** @typedef {"connecting" | "open" | "lost" | "resting"} LiveState */

// Heartbeats come every 15 s.
const SILENCE = 40_000;
const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;
const REST_AFTER = 60_000;

export class Live {
  constructor() {
    /** @type {Map<string, Set<(data: any) => void>>} */
    this.watchers = new Map();
    /** @type {Set<() => void>} */
    this.listeners = new Set();
    /** @type {Map<string, string>} why a topic cannot be seen now */
    this.unseen = new Map();
    /** @type {LiveState} */
    this.state = "connecting";
    this.wait = FIRST_WAIT;
    /** @type {AbortController | null} */
    this.connection = null;
    this.timer = 0;
    this.resting = 0;
    this.planned = false;
    this.stopped = false;
    document.addEventListener("visibilitychange", () => this.#seen());
  }

  /**
   * Calls `then` with each change of a topic, until the returned function is called.
   *
   * @param {string} topic
   * @param {(data: any) => void} then
   * @returns {() => void}
   */
  watch(topic, then) {
    const watchers = this.watchers.get(topic) ?? new Set();
    this.watchers.set(topic, watchers.add(then));
    if (watchers.size === 1) this.#reopenSoon();
    return () => {
      watchers.delete(then);
      if (watchers.size === 0 && this.watchers.get(topic) === watchers) {
        this.watchers.delete(topic);
        this.unseen.delete(topic);
        this.#reopenSoon();
      }
    };
  }

  /** Calls `then` when the state may be another. @param {() => void} then */
  onState(then) {
    this.listeners.add(then);
    then();
  }

  /** Tries again now. */
  retry() {
    this.stopped = false;
    this.wait = FIRST_WAIT;
    this.#open();
  }

  /** Until `retry`. */
  stop() {
    this.stopped = true;
    this.#close();
  }

  #close() {
    clearTimeout(this.timer);
    this.connection?.abort();
    this.connection = null;
  }

  // Screens change several topics at once; one new connection serves them.
  #reopenSoon() {
    if (this.planned) return;
    this.planned = true;
    queueMicrotask(() => {
      this.planned = false;
      if (!this.stopped) this.#open();
    });
  }

  async #open() {
    this.#close();
    if (!this.watchers.size) return;
    const connection = new AbortController();
    this.connection = connection;
    if (this.state !== "lost") this.#tell("connecting");
    try {
      // Commas part them, and ids of sessions may hold some.
      const topics = [...this.watchers.keys()]
        .sort()
        .map((topic) => topic.replace(/[%,]/g, encodeURIComponent))
        .join(",");
      const response = await send("GET", address(["events"], { topics }), undefined, connection.signal);
      if (this.connection !== connection) return;
      this.#tell("open");
      this.wait = FIRST_WAIT;
      this.#expect(connection);
      for await (const event of events(response)) {
        if (this.connection !== connection) return;
        this.#expect(connection);
        if (event) this.#deliver(event.data);
      }
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return;
    }
    if (this.connection === connection) this.#lost();
  }

  /** @param {AbortController} connection */
  #expect(connection) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connection === connection && this.#lost(), SILENCE);
  }

  #lost() {
    this.#close();
    this.#tell("lost");
    this.timer = setTimeout(() => this.#open(), this.wait);
    this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
  }

  #seen() {
    clearTimeout(this.resting);
    if (document.hidden) {
      this.resting = setTimeout(() => {
        this.#close();
        this.#tell("resting");
      }, REST_AFTER);
    } else if (this.state === "resting") this.retry();
  }

  // What could not be looked at comes as an error; the next look may tell again. Screens tell what is not there.
  /** @param {{topic: string, data?: any, error?: {type: string, message: string}}} change */
  #deliver({ topic, data, error }) {
    const unseen = error && error.type !== "not_found";
    if (unseen) this.unseen.set(topic, error.message);
    if (unseen || this.unseen.delete(topic)) this.#tell(this.state);
    if (!error) for (const then of [...(this.watchers.get(topic) ?? [])]) then(data);
  }

  /** @param {LiveState} state */
  #tell(state) {
    this.state = state;
    this.listeners.forEach((then) => then());
  }
}
