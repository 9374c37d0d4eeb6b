/** A list that the gateway gives page by page. */

import { get } from "./api.js";
import { paced } from "./scope.js";

// The first page is asked for again with every change, what follows only once.
const FIRST = 100;
const PAGE = 500;
const GAP = 1000;

export class Paged {
  /**
   * @param {import("./scope.js").Scope} scope
   * @param {string[]} parts of the address
   * @param {import("./list.js").List} list that shows it
   * @param {() => void} [shown]
   */
  constructor(scope, parts, list, shown) {
    this.scope = scope;
    this.parts = parts;
    this.list = list;
    this.shown = shown;
    /** @type {{at: number, cursor: string}[]} where the pages after the first begin */
    this.places = [];
    /** @type {any[]} */
    this.rows = [];
    /** @type {string | null} */
    this.next = null;
    /** @type {Record<string, unknown>} */
    this.query = {};
    this.answered = false;
    this.asked = 0;
    this.busy = false;
    this.refresh = paced(() => this.#again(), GAP);
  }

  /**
   * The first page of what fits; an answer that was asked for earlier is dropped.
   *
   * @param {Record<string, unknown>} query
   */
  async ask(query) {
    this.query = query;
    const asked = (this.asked += 1);
    await this.scope.load(async () => {
      const page = await get(this.parts, { ...query, limit: FIRST }, this.scope.signal);
      if (asked !== this.asked) return;
      this.answered = true;
      this.places = [];
      this.#set(page.items, page.next);
    });
  }

  /** The page after what is there. */
  async more() {
    if (this.busy || !this.next) return;
    this.busy = true;
    const { asked, next: cursor } = this;
    await this.scope.load(async () => {
      const page = await get(this.parts, { ...this.query, limit: PAGE, cursor }, this.scope.signal);
      if (asked !== this.asked) return;
      this.places.push({ at: this.rows.length, cursor });
      this.#set(joined(this.rows, page.items), page.next);
    });
    this.busy = false;
  }

  /**
   * Leaves one row out, which is no more.
   *
   * @param {string} id
   */
  drop(id) {
    this.#set(
      this.rows.filter((row) => row.id !== id),
      this.next,
    );
  }

  /** What is new stands before what was read; what is in sight is asked for again, too. */
  async #again() {
    const asked = this.asked;
    await this.scope.load(async () => {
      const page = await get(this.parts, { ...this.query, limit: FIRST }, this.scope.signal);
      if (asked !== this.asked || this.busy) return;
      if (this.rows.length <= FIRST || !page.next) this.#set(page.items, page.next);
      else this.#set(joined(page.items, await this.#inSight()), this.next);
    });
  }

  /** The rows with those of the page that is looked at as they are now. */
  async #inSight() {
    const place = this.places.findLast(({ at }) => at <= this.list.first);
    if (!place) return this.rows;
    const asked = { ...this.query, limit: PAGE, cursor: place.cursor };
    const page = await get(this.parts, asked, this.scope.signal);
    const fresh = new Map(page.items.map((/** @type {any} */ row) => [row.id, row]));
    return this.rows.map((row) => fresh.get(row.id) ?? row);
  }

  /** @param {any[]} rows @param {string | null} next */
  #set(rows, next) {
    this.rows = rows;
    this.next = next;
    this.list.set(rows, rows.length + (next === null ? 0 : 1));
    this.shown?.();
  }
}

/** @param {any[]} first @param {any[]} then */
function joined(first, then) {
  const known = new Set(first.map((row) => row.id));
  return [...first, ...then.filter((row) => !known.has(row.id))];
}
