/** A list of any length as a grid: only the rows in sight are in the document; arrows move, Enter opens. */

import { h, island, render } from "./dom.js";

/** @typedef {import("./dom.js").Child} Child */
/**
 * @typedef {object} Column
 * @property {string} title
 * @property {string} width a track of a CSS grid
 * @property {(row: any) => Child} cell
 * @property {boolean} [number]
 * @property {boolean} [wide] left out where there is little room
 * @property {() => Child} [head] in place of the title
 */
/**
 * @typedef {object} ListOptions
 * @property {string} label
 * @property {Column[]} columns
 * @property {(row: any) => string} key
 * @property {number} [height] of a row in pixels
 * @property {(row: any) => void} [onOpen]
 * @property {(row: any) => void} [onSelect]
 * @property {(row: any) => void} [onTwice] a double click
 * @property {(event: KeyboardEvent, row: any) => boolean} [onKey] whether the key is used up
 * @property {() => void} [onEnd] the last rows are near
 * @property {() => Child} empty
 * @property {boolean} [bare] no frame of its own
 * @property {(row: any) => string} [tone] a class for the row
 */

const AROUND = 8;
const NARROW = 480;
let lists = 0;

export class List {
  /** @param {ListOptions} options */
  constructor(options) {
    this.options = options;
    this.height = options.height ?? 40;
    /** @type {any[]} */
    this.rows = [];
    this.selected = "";
    this.at = -1;
    this.total = 0;
    this.id = `list-${(lists += 1)}`;
    this.planned = 0;
    this.node = document.createElement("div");
    this.node.className = `list fill ${options.bare ? "" : "card"} ${options.onOpen ? "clickable" : ""}`;
    this.head = document.createElement("div");
    this.head.className = "list-head";
    this.head.id = `${this.id}-head`;
    this.head.setAttribute("role", "row");
    this.head.setAttribute("aria-rowindex", "1");
    this.scroll = document.createElement("div");
    this.scroll.className = "list-scroll";
    this.scroll.tabIndex = 0;
    this.scroll.dataset.list = "";
    this.scroll.setAttribute("role", "grid");
    this.scroll.setAttribute("aria-label", options.label);
    this.scroll.addEventListener("scroll", () => this.draw(), { passive: true });
    this.scroll.addEventListener("keydown", (event) => this.#keyed(event));
    this.scroll.addEventListener(
      "focus",
      () => this.at < 0 && this.rows.length && this.scroll.matches(":focus-visible") && this.move(0),
    );
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.scroll);
    this.node.append(this.head, this.scroll);
  }

  /** For a tree of `h`. */
  get view() {
    return island(this.node);
  }

  /**
   * @param {any[]} rows
   * @param {number} [total] how many there are, of which these are the first
   */
  set(rows, total = rows.length) {
    const top = this.first;
    const seen = top > 0 && this.rows[top] !== undefined ? this.options.key(this.rows[top]) : null;
    this.rows = rows;
    this.total = Math.max(total, rows.length);
    this.at = rows.findIndex((row) => this.options.key(row) === this.selected);
    this.draw();
    // What is read stays in its place when rows come before it.
    const moved = seen === null ? -1 : rows.findIndex((row) => this.options.key(row) === seen);
    if (moved >= 0 && moved !== top) this.scroll.scrollTop += (moved - top) * this.height;
  }

  /**
   * Selects the row at an index and brings it into sight.
   *
   * @param {number} index
   */
  move(index) {
    const at = Math.max(0, Math.min(this.rows.length - 1, index));
    const row = this.rows[at];
    if (row === undefined) return;
    this.at = at;
    this.selected = this.options.key(row);
    const top = at * this.height;
    const seen = this.scroll.clientHeight;
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    else if (top + this.height > this.scroll.scrollTop + seen)
      this.scroll.scrollTop = top + this.height - seen;
    this.options.onSelect?.(row);
    this.draw();
  }

  /** @param {string} key */
  select(key) {
    this.selected = key;
    this.at = this.rows.findIndex((row) => this.options.key(row) === key);
    this.draw();
  }

  /** The index of the first row in sight. */
  get first() {
    return Math.floor(this.scroll.scrollTop / this.height);
  }

  get current() {
    return this.rows[this.at];
  }

  /** At once; what changed several times is cheap to draw again, for only what is in sight is drawn. */
  draw() {
    const { key, tone } = this.options;
    const narrow = this.node.clientWidth > 0 && this.node.clientWidth < NARROW;
    const columns = this.options.columns.filter((column) => !narrow || !column.wide);
    this.node.style.setProperty("--columns", columns.map((column) => column.width).join(" "));
    render(
      this.head,
      columns.map((column) =>
        h(
          "span",
          { role: "columnheader", class: column.number ? "number" : "" },
          column.head?.() ?? column.title,
        ),
      ),
    );
    this.head.hidden = !this.rows.length;
    // The head stands beside what scrolls, and is the grid's first row to those who listen.
    this.scroll.setAttribute("aria-owns", `${this.head.id} ${this.id}-rows`);
    this.scroll.setAttribute("aria-rowcount", String(this.total + 1));
    const active = this.at >= 0 ? this.#rowId(this.at) : null;
    if (active) this.scroll.setAttribute("aria-activedescendant", active);
    else this.scroll.removeAttribute("aria-activedescendant");
    if (!this.rows.length) {
      render(this.scroll, this.options.empty());
      return;
    }
    const first = Math.max(0, Math.floor(this.scroll.scrollTop / this.height) - AROUND);
    const last = Math.min(
      this.rows.length,
      Math.ceil((this.scroll.scrollTop + this.scroll.clientHeight) / this.height) + AROUND,
    );
    const shown = this.rows.slice(first, last).map((row, offset) => {
      const index = first + offset;
      return h(
        "div",
        {
          key: key(row),
          id: this.#rowId(index),
          role: "row",
          class: `list-row ${tone?.(row) ?? ""}`,
          "aria-rowindex": index + 2,
          "aria-selected": index === this.at ? "true" : "false",
          style: { height: `${this.height}px`, transform: `translateY(${index * this.height}px)` },
          onclick: () => this.#clicked(index),
          ondblclick: () => this.options.onTwice?.(row),
        },
        columns.map((column) =>
          h("div", { role: "gridcell", class: column.number ? "number" : "" }, column.cell(row)),
        ),
      );
    });
    render(
      this.scroll,
      h(
        "div",
        { class: "list-space", id: `${this.id}-rows`, role: "rowgroup", style: { height: `${this.rows.length * this.height}px` } },
        shown,
      ),
    );
    if (last + AROUND >= this.rows.length && this.rows.length < this.total) this.options.onEnd?.();
  }

  /** @param {number} index */
  #rowId(index) {
    return `${this.id}-${index}`;
  }

  /** @param {number} index */
  #clicked(index) {
    if (String(getSelection() ?? "")) return; // text is being marked
    this.move(index);
    this.options.onOpen?.(this.rows[index]);
  }

  /** @param {KeyboardEvent} event */
  #keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.scroll) return;
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / this.height) - 1);
    /** @type {Record<string, number>} */
    const steps = {
      ArrowDown: this.at + 1,
      j: this.at + 1,
      ArrowUp: this.at - 1,
      k: this.at - 1,
      PageDown: this.at + page,
      PageUp: this.at - page,
      Home: 0,
      End: this.rows.length - 1,
    };
    if (this.current !== undefined && this.options.onKey?.(event, this.current)) event.preventDefault();
    else if (event.key in steps) {
      this.move(steps[event.key]);
      event.preventDefault();
    } else if (event.key === "Enter" && this.current !== undefined) {
      this.options.onOpen?.(this.current);
      event.preventDefault();
    }
  }
}
