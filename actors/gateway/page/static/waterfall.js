/** Spans as a tree beside their bars; running ones grow, thousands stay quick to scroll. */

import { h } from "./dom.js";
import { json, seconds, tail } from "./format.js";
import { icon } from "./icons.js";
import { List } from "./list.js";
import { empty } from "./overlay.js";
import { facts } from "./screens/parts.js";

/** @typedef {import("./dom.js").Child} Child */

const TICKS = [0, 0.25, 0.5, 0.75, 1];
const FEW_TICKS = [0, 0.5, 1];
const WIDE = 800;
const PHONE = 440;
const GROWING = 250;

export class WaterfallView {
  /**
   * @param {import("./app.js").App} app
   * @param {import("./scope.js").Scope} scope
   * @param {string} nothing what to do where there are no spans
   */
  constructor(app, scope, nothing) {
    this.app = app;
    /** @type {any[]} */
    this.spans = [];
    /** @type {Set<string>} */
    this.folded = new Set();
    /** @type {any} */
    this.chosen = null;
    this.find = "";
    this.onlyErrors = false;
    this.whole = 0;
    /** @type {[number, number] | null} the seconds that the bars show, where it is not all */
    this.window = null;
    this.truncated = 0;
    this.loadedAt = 0;
    this.running = 0;
    this.list = new List({
      label: "Spans",
      height: 28,
      columns: [
        { title: "Span", width: "minmax(120px, 2fr)", cell: (span) => this.#name(span) },
        {
          title: "",
          width: "minmax(90px, 3fr)",
          cell: (span) => this.#bar(span),
          head: () => this.#ruler(),
        },
        {
          title: "Took",
          wide: true,
          width: "76px",
          number: true,
          cell: (span) => h("span", { class: span.running ? "running-text" : "" }, seconds(this.#took(span))),
        },
      ],
      key: (span) => span.id,
      onSelect: (span) => this.#choose(span),
      onTwice: (span) => this.#zoom(span),
      onKey: (event, span) => this.#keyed(event, span),
      tone: (span) => (span.error ? "failed" : ""),
      empty: () => empty("traces", this.loadedAt ? "No spans" : "Asking …", this.loadedAt ? nothing : ""),
    });
    this.list.node.classList.add("waterfall");
    scope.every(GROWING, () => this.running > 0 && this.list.draw());
  }

  /** @param {{rows: any[], truncated: number}} waterfall */
  set(waterfall) {
    // A row that stands for a whole session has no span's id.
    this.spans = waterfall.rows.map((span, at) => (span.id ? span : { ...span, id: `row-${at}` }));
    this.truncated = waterfall.truncated;
    this.loadedAt = performance.now();
    this.running = this.spans.filter((span) => span.running).length;
    if (this.chosen) this.chosen = this.spans.find((span) => span.id === this.chosen.id) ?? null;
    this.#show();
  }

  /** The tools of its header. */
  tools() {
    return h(
      "div",
      { class: "head-tools" },
      this.window && h("button", { class: "button small", onclick: this.#whole }, "Whole time"),
      this.spans.length > 8 &&
        h("input", {
          class: "field small",
          type: "search",
          placeholder: "Find a span",
          "aria-label": "Find a span",
          value: this.find,
          spellcheck: "false",
          oninput: this.#search,
        }),
      this.spans.some((span) => span.error) &&
        h(
          "label",
          { class: "tick" },
          h("input", { type: "checkbox", checked: this.onlyErrors, onchange: this.#errors }),
          "Errors only",
        ),
    );
  }

  draw() {
    return [
      this.list.view,
      this.truncated > 0 &&
        h(
          "p",
          { class: "aside foot" },
          `${this.truncated} more spans were left out, for an answer is bounded.`,
        ),
      this.chosen && this.#details(this.chosen),
    ];
  }

  #show() {
    this.whole = Math.max(...this.spans.map((span) => span.offset + this.#took(span)), 1e-6);
    const wanted = this.find.toLowerCase();
    const narrowed = wanted !== "" || this.onlyErrors;
    /** @type {any[]} */
    const rows = [];
    let hidden = Infinity;
    for (const span of this.spans) {
      if (narrowed) {
        if (
          (!this.onlyErrors || span.error) &&
          (span.name.toLowerCase().includes(wanted) || json(span.attributes).toLowerCase().includes(wanted))
        )
          rows.push(span);
        continue;
      }
      if (span.depth > hidden) continue;
      hidden = this.folded.has(span.id) ? span.depth : Infinity;
      rows.push(span);
    }
    this.list.set(rows);
    this.app.redraw();
  }

  /** @param {any} span */
  #took(span) {
    return span.running ? span.seconds + (performance.now() - this.loadedAt) / 1000 : span.seconds;
  }

  /** @param {any} span */
  #name(span) {
    const at = this.spans.indexOf(span);
    const parent = this.spans[at + 1]?.depth > span.depth;
    const folded = this.folded.has(span.id);
    return h(
      "span",
      { class: "span-name", style: { "--depth": String(Math.min(span.depth, 14)) } },
      parent
        ? h(
            "button",
            {
              class: "fold",
              tabindex: "-1",
              "aria-label": folded ? "Unfold" : "Fold",
              "aria-expanded": folded ? "false" : "true",
              onclick: (/** @type {Event} */ event) => this.#toggled(event, span),
            },
            icon(folded ? "right" : "down"),
          )
        : h("span", { class: "fold" }),
      h("span", { class: "cut", title: span.name }, span.name),
      span.error && h("span", { class: "chip bad bare" }, tail(span.error)),
      span.orphan && h("span", { class: "chip bare", title: "Its parent is not among the spans" }, "orphan"),
    );
  }

  /** @param {any} span */
  #bar(span) {
    const whole = Math.max(this.whole, span.offset + this.#took(span));
    if (whole > this.whole) this.whole = whole;
    const [from, until] = this.window ?? [0, this.whole];
    const begin = Math.max(span.offset, from);
    const end = Math.min(span.offset + this.#took(span), until);
    if (begin > until || end < from) return h("span", { class: `track ${end < from ? "before" : "after"}` });
    const left = ((begin - from) / (until - from)) * 100;
    const width = ((end - begin) / (until - from)) * 100;
    return h(
      "span",
      { class: "track" },
      h("span", {
        class: `bar ${kind(span)} ${span.running ? "running" : ""} ${span.error ? "failed" : ""}`,
        style: { left: `${left.toFixed(3)}%`, width: `${width.toFixed(3)}%` },
      }),
    );
  }

  #ruler() {
    const [from, until] = this.window ?? [0, this.whole];
    const room = this.list.node.clientWidth;
    const ticks = room < PHONE ? [0, 1] : room < WIDE ? FEW_TICKS : TICKS;
    const at = (/** @type {number} */ share) => from + (until - from) * share;
    return h(
      "span",
      { class: "ruler" },
      ticks.map((share) =>
        h("span", { style: { left: `${share * 100}%` } }, at(share) ? seconds(at(share)) : "0"),
      ),
    );
  }

  /** @param {any} span */
  #details(span) {
    const attributes = Object.entries(span.attributes);
    /** @type {[string, Child][]} */
    const told = [
      ["Source", span.source || "–"],
      ["Begins", `${seconds(span.offset)} after the first`],
      ["Took", span.running ? `${seconds(this.#took(span))} so far` : seconds(span.seconds)],
      ["Kind", span.kind],
    ];
    if (span.trace)
      told.push(
        ["Trace", h("span", { class: "mono" }, span.trace)],
        ["Span", h("span", { class: "mono" }, span.id)],
      );
    return h(
      "section",
      { class: "card span-details", "aria-label": "The chosen span" },
      h(
        "header",
        null,
        h("h2", { class: "cut" }, span.name),
        h("button", { class: "button small push", onclick: () => this.#zoom(span) }, "Zoom in"),
        h(
          "button",
          { class: "button plain small square", "aria-label": "Close the span", onclick: this.#close },
          icon("cross"),
        ),
      ),
      h(
        "div",
        { class: "inner" },
        span.error && h("div", { class: "problem" }, span.error),
        facts(told),
        attributes.length > 0 && [
          h("h3", null, "Attributes"),
          h("div", { class: "mono" }, facts(attributes.map(([name, value]) => [name, json(value)]))),
        ],
      ),
    );
  }

  /** @param {any} span */
  #choose(span) {
    this.chosen = span;
    this.app.redraw();
  }

  #close = () => {
    this.chosen = null;
    this.app.redraw();
  };

  /** Bars show the time of one span. @param {any} span */
  #zoom(span) {
    const around = Math.max(this.#took(span), 1e-6) * 0.04;
    this.window = [Math.max(0, span.offset - around), span.offset + this.#took(span) + around];
    this.list.draw();
    this.app.redraw();
  }

  #whole = () => {
    this.window = null;
    this.list.draw();
    this.app.redraw();
  };

  /** @param {Event} event @param {any} span */
  #toggled(event, span) {
    event.stopPropagation();
    this.#fold(span, !this.folded.has(span.id));
  }

  /** @param {any} span @param {boolean} fold */
  #fold(span, fold) {
    if (fold) this.folded.add(span.id);
    else this.folded.delete(span.id);
    this.#show();
  }

  /** @param {KeyboardEvent} event @param {any} span */
  #keyed(event, span) {
    if (event.key === "z") this.#zoom(span);
    else if (event.key === "Z") this.#whole();
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight")
      this.#step(span, event.key === "ArrowLeft");
    else return false;
    return true;
  }

  /** Folds or goes up, unfolds or goes on. @param {any} span @param {boolean} fold */
  #step(span, fold) {
    const at = this.spans.indexOf(span);
    const parent = this.spans[at + 1]?.depth > span.depth;
    if (parent && this.folded.has(span.id) !== fold) this.#fold(span, fold);
    else if (fold) {
      const above = this.list.rows.findLastIndex(
        (row, index) => index < this.list.at && row.depth < span.depth,
      );
      if (above >= 0) this.list.move(above);
    } else this.list.move(this.list.at + 1);
  }

  #search = (/** @type {Event} */ event) => {
    this.find = /** @type {HTMLInputElement} */ (event.target).value;
    this.#show();
  };

  #errors = (/** @type {Event} */ event) => {
    this.onlyErrors = /** @type {HTMLInputElement} */ (event.target).checked;
    this.#show();
  };
}

/** @param {any} span */
function kind(span) {
  const word = span.name.split(" ", 1)[0];
  if (
    word === "session" ||
    word === "ask" ||
    word === "turn" ||
    word === "invoke_agent" ||
    word === "invoke_workflow"
  )
    return "turn";
  if (word === "chat" || word === "generate_content" || word === "text_completion" || word === "embeddings")
    return "model";
  if (word === "execute_tool") return "tool";
  if (word === "pool" || word === "call") return "pool";
  return "bus";
}
