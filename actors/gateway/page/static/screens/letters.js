/** Dead letters: what was given up, looked at, run again or thrown away. */

import { get, post, remove } from "../api.js";
import { h } from "../dom.js";
import { ago, count, json, plural, tail, time } from "../format.js";
import { icon } from "../icons.js";
import { List } from "../list.js";
import { ask, attempt, empty, toast } from "../overlay.js";
import { Paged } from "../paged.js";
import { link, note } from "../router.js";
import { body, facts, head } from "./parts.js";

// What the bus may give as the reason.
const REASONS = [
  "handler",
  "deadline",
  "stuck",
  "cancelled",
  "undecodable",
  "invalid",
  "expired",
  "overflow",
  "dropped",
  "depth",
  "breaker",
  "no_handler",
  "outcome_unknown",
  "store",
];

export class Letters {
  title = "Dead letters";

  /**
   * @param {import("../app.js").App} app
   * @param {import("../scope.js").Scope} scope
   * @param {import("../router.js").Place} place
   */
  constructor(app, scope, place) {
    this.app = app;
    this.scope = scope;
    this.reason = place.query.reason ?? "";
    this.handler = place.query.handler ?? "";
    /** @type {any} */
    this.letter = null;
    /** @type {Set<string>} */
    this.busy = new Set();
    this.keys = {
      r: /** @type {[string, () => void]} */ ([
        "Replay the letter",
        () => this.letter && this.#replay(this.letter),
      ]),
      x: /** @type {[string, () => void]} */ ([
        "Discard the letter",
        () => this.letter && this.#discard(this.letter),
      ]),
    };
    this.list = new List({
      label: "Dead letters",
      height: 56,
      columns: [{ title: "Letter", width: "minmax(0, 1fr)", cell: row, head: () => "The newest first" }],
      key: (letter) => letter.id,
      onSelect: (letter) => this.#open(letter.id),
      onKey: (event, letter) => this.#keyed(event, letter),
      onEnd: () => this.pages.more(),
      empty: () => this.#empty(),
    });
    this.pages = new Paged(scope, ["dead-letters"], this.list, () => {
      if (!this.letter) this.list.move(0);
      this.app.redraw();
    });
    this.pages.ask({ reason: this.reason, handler: this.handler });
    scope.watch("dead-letters", () => this.pages.refresh());
  }

  draw() {
    const known = this.app.overview?.dead_letters;
    return [
      head(
        "Dead letters",
        typeof known === "number" ? `${plural(known, "message")} given up for a handler` : " ",
        this.handler &&
          h(
            "button",
            {
              class: "button",
              onclick: this.#everyHandler,
              "aria-label": `Only of ${this.handler}; show every handler's`,
            },
            `of ${this.handler}`,
            icon("cross"),
          ),
        h(
          "select",
          { class: "field", "aria-label": "Reason", onchange: this.#narrow },
          ["", ...REASONS].map((reason) =>
            h(
              "option",
              { value: reason, selected: reason === this.reason },
              reason.replaceAll("_", " ") || "Any reason",
            ),
          ),
        ),
      ),
      body(
        this.scope,
        true,
        this.pages.rows.length
          ? h("div", { class: "pair narrow" }, this.list.view, this.#detail())
          : h("div", { class: "card" }, this.#empty()),
      ),
    ];
  }

  #detail() {
    const { letter } = this;
    if (!letter) return h("section", { class: "card" }, empty("letters", "Choose a letter"));
    const busy = this.busy.has(letter.id);
    return h(
      "section",
      { class: "card scroll", "aria-label": "The chosen letter", "aria-busy": busy ? "true" : null },
      h(
        "header",
        null,
        h("h2", { class: "cut" }, tail(letter.type)),
        h("span", { class: "chip bad bare" }, letter.reason),
        h(
          "div",
          { class: "head-tools push" },
          h(
            "button",
            { class: "button small", onclick: () => this.#replay(letter), disabled: busy },
            icon("replay"),
            "Replay",
          ),
          h(
            "button",
            { class: "button small bad", onclick: () => this.#discard(letter), disabled: busy },
            icon("discard"),
            "Discard",
          ),
        ),
      ),
      h(
        "div",
        { class: "inner stack" },
        facts([
          ["Handler", letter.handler],
          ["Type", h("span", { class: "mono" }, letter.type)],
          [
            "Session",
            letter.session === "BUS"
              ? "BUS"
              : h("a", { href: link(["session", letter.session]) }, letter.session),
          ],
          ["Published", `${time(letter.published)}, given up ${ago(letter.time)}`],
          ["Attempts", count(letter.attempts)],
          ["Message", h("span", { class: "mono" }, letter.message)],
        ]),
        letter.errors.length > 0 && [
          h("h3", null, "Errors"),
          h(
            "ol",
            { class: "errors" },
            letter.errors.map((/** @type {any} */ one) =>
              h(
                "li",
                null,
                h(
                  "div",
                  { class: "row" },
                  h("strong", { class: "bad-text" }, one.kind),
                  h("span", { class: "aside push" }, time(one.time)),
                ),
                h("div", null, one.text),
              ),
            ),
          ),
        ],
        letter.undecodable &&
          h("div", { class: "problem" }, `Its content cannot be shown: ${letter.undecodable}`),
        h("h3", null, "Content"),
        h("pre", { class: "block", tabindex: "0", "aria-label": "Content" }, json(letter.fields)),
        Object.keys(letter.metadata).length > 0 && [
          h("h3", null, "Metadata"),
          h("pre", { class: "block" }, json(letter.metadata)),
        ],
      ),
    );
  }

  #empty() {
    if (!this.pages.answered) return empty("letters", "Asking the runtime …");
    if (this.reason || this.handler)
      return empty("letters", "No dead letter fits", "Choose any reason, or every handler.");
    return empty(
      "letters",
      "No dead letters",
      "Every message has been handled. One that a handler fails for good, or that nobody takes in time, is kept here until you replay or discard it.",
    );
  }

  /** @param {string} id */
  #open(id) {
    return this.scope.load(async () => {
      const letter = await get(["dead-letters", id], {}, this.scope.signal);
      if (this.list.selected === id) this.letter = letter;
    });
  }

  /** @param {any} letter */
  async #replay(letter) {
    const answer = await this.#while(letter.id, () => post(["dead-letters", letter.id, "replay"]));
    if (!answer) return;
    if (answer.handled) {
      toast(`${tail(letter.type)} was handled by ${letter.handler}`);
      this.#gone(letter.id);
    } else {
      toast("It failed again", { bad: true, hint: answer.text });
      this.#open(letter.id);
    }
  }

  /** @param {any} letter */
  async #discard(letter) {
    const sure = await ask({
      title: "Discard this letter?",
      content: h("p", null, `${tail(letter.type)} for ${letter.handler} goes for good.`),
      action: "Discard",
      bad: true,
    });
    if (sure && (await this.#while(letter.id, () => remove(["dead-letters", letter.id]))))
      this.#gone(letter.id);
  }

  /**
   * @template T
   * @param {string} id
   * @param {() => Promise<T>} work
   */
  async #while(id, work) {
    this.busy.add(id);
    this.app.redraw();
    const answer = await attempt(work);
    this.busy.delete(id);
    this.app.redraw();
    return answer;
  }

  /** The one after it is shown next. @param {string} id */
  #gone(id) {
    const at = this.list.at;
    this.letter = null;
    this.pages.drop(id);
    this.list.move(at);
    this.app.redraw();
  }

  /** @param {KeyboardEvent} event @param {any} letter */
  #keyed(event, letter) {
    if (event.key !== "Delete") return false;
    this.#discard(letter);
    return true;
  }

  #asked() {
    this.letter = null;
    note({ reason: this.reason, handler: this.handler });
    this.pages.ask({ reason: this.reason, handler: this.handler });
  }

  #everyHandler = () => {
    this.handler = "";
    this.#asked();
  };

  #narrow = (/** @type {Event} */ event) => {
    this.reason = /** @type {HTMLSelectElement} */ (event.target).value;
    this.#asked();
  };
}

/** @param {any} letter */
function row(letter) {
  return h(
    "div",
    { class: "two-lines" },
    h(
      "div",
      { class: "row" },
      h("strong", { class: "cut" }, tail(letter.type)),
      h("span", { class: "aside push" }, ago(letter.time)),
    ),
    h(
      "div",
      { class: "row aside" },
      h("span", { class: "cut" }, `${letter.handler}: ${letter.error || letter.reason}`),
    ),
  );
}
